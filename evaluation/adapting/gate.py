"""Does the adapter help on commits it has not seen? The same cases with and without it; no clear win, no use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from holefill.evaluation.adapting.outside import BOUND
from holefill.evaluation.cases import CaseSet, DataError
from holefill.evaluation.evaluate import evaluate, tasks_of
from holefill.evaluation.metrics.bootstrap import PairedDifference
from holefill.evaluation.records import Record
from holefill.evaluation.runner import EngineUnderTest, load_system
from holefill.evaluation.suites.registry import load_suites
from holefill.evaluation.summary import pair
from holefill.evaluation.workspaces import Workspaces
from holefill.model.shipped import shipped_adapter

SUITE = "repo"
MEASURE, GUARD = "es", "em"
"""The gate's measure was fixed beforehand: edit similarity moves on few cases, exact match must not fall beside it."""

MIN_CASES = 8
"""An interval of fewer says nothing."""


def judge(
    model: str, adapter: Path, cases: CaseSet, seed: int, tell: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, PairedDifference]:
    """Tuned − what serves without it, for every measure of the suite, without repository context in either prompt."""
    total = 2 * len(cases.cases)
    plain = _answers(model, shipped_adapter(model), cases, lambda done: tell(done, total))
    tuned = _answers(model, adapter, cases, lambda done: tell(len(cases.cases) + done, total))
    found = dict(pair(plain, tuned, seed))
    if MEASURE not in found or GUARD not in found:
        raise DataError("no case could be run with and without the adapter: see `holefill eval repo` for the reason")
    return found


def wins(found: dict[str, PairedDifference], outside: float) -> bool:
    """The interval of the measure lies above 0 on enough cases, the mean of the guard does not fall, and the loss on
    other people's code rises by no more than the bound."""
    enough = found[MEASURE].n >= MIN_CASES and found[MEASURE].difference.low > 0
    return enough and found[GUARD].difference.mean >= 0 and outside <= BOUND


def _answers(model: str, adapter: Path | None, cases: CaseSet, tell: Callable[[int], None]) -> Sequence[Record]:
    system = load_system(EngineUnderTest(model, adapter=adapter))
    workspaces = Workspaces({})
    records: list[Record] = []
    try:
        alone = [replace(case, workspace=None, dropped=()) for case in cases.cases]
        for record in evaluate(load_suites()[SUITE], system, workspaces, tasks_of(alone, ("off",))):
            records.append(record)
            tell(len(records))
    finally:
        workspaces.close()
        system.close()
    return records
