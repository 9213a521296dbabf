"""Which context pays on this repository? Every candidate policy on the same cases; the winner becomes the user's row.

A candidate wins only over no context at all, by edit similarity, with an interval wide enough for the number of
candidates (Bonferroni) that excludes zero, and not at the price of exact matches.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from holefill.context.forms import COMMENTS
from holefill.context.policy import ASKED_FOR, Policy
from holefill.evaluation.cases import Case
from holefill.evaluation.evaluate import Task, evaluate
from holefill.evaluation.metrics.bootstrap import PairedDifference, paired_difference
from holefill.evaluation.records import Record
from holefill.evaluation.runner import System
from holefill.evaluation.suites.registry import Suite
from holefill.evaluation.workspaces import Workspaces

OFF = "off"
MEASURE, GUARD = "es", "em"
_ERROR = 0.05
MIN_CASES = 20
"""The bootstrap of fewer says too much."""


@dataclass(frozen=True, slots=True)
class Candidate:
    providers: tuple[str, ...]
    budget_tokens: int
    form: str = COMMENTS

    @property
    def arm(self) -> str:
        return f"{'+'.join(self.providers)}:{self.form}" if self.providers else OFF

    @property
    def label(self) -> str:
        return f"{self.arm}@{self.budget_tokens}" if self.providers else OFF


NOTHING = Candidate((), 0)
CANDIDATES = (
    Candidate(("imports",), 400),
    Candidate(("similar",), 400),
    Candidate(ASKED_FOR, 400),
    Candidate(ASKED_FOR, 1200),
    Candidate(("typed_hole",), 160, "signature"),
    Candidate(("typed_hole", "callees_callers"), 320, "hints"),
)
"""Repository definitions in front of the prefix at two budgets, and facts beside the hole."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate against no context."""

    candidate: Candidate
    measure: PairedDifference
    guard: PairedDifference

    @property
    def pays(self) -> bool:
        enough = self.measure.n >= MIN_CASES
        return enough and self.measure.difference.low > 0 and self.guard.difference.mean >= 0

    @property
    def figures(self) -> str:
        return f"{_told('ES', self.measure)}, {_told('EM', self.guard)}, n {self.measure.n}"


def run_candidates(
    suite: Suite, system: System, workspaces: Workspaces, cases: Sequence[Case], done: Sequence[Record]
) -> Iterator[Record]:
    """A record per case and candidate whose ``context`` is the candidate's label; what is ``done`` is left out.

    All of one case before the next, so that a run cut off is still paired.
    """
    finished = {(record.id, record.context) for record in done}
    for case in cases:
        for candidate in (NOTHING, *CANDIDATES):
            if (case.id, candidate.label) in finished:
                continue
            prompt = replace(suite.prompt, context_tokens=candidate.budget_tokens)
            tasks = [Task(case, candidate.arm)]
            for record in evaluate(replace(suite, prompt=prompt), system, workspaces, tasks):
                yield replace(record, context=candidate.label)


def trials(records: Sequence[Record], seed: int) -> list[Trial]:
    """Of the candidates that have cases in common with no context, best first."""
    by_label: dict[str, dict[str, Record]] = {}
    for record in records:
        if not record.error:
            by_label.setdefault(record.context, {})[record.id] = record
    without = by_label.get(OFF, {})
    found = []
    for candidate in CANDIDATES:
        mine = by_label.get(candidate.label, {})
        both = [identity for identity in without if identity in mine]
        if both:
            found.append(
                Trial(
                    candidate,
                    *(_difference(name, [(without[i], mine[i]) for i in both], seed) for name in (MEASURE, GUARD)),
                )
            )
    return sorted(found, key=lambda trial: -trial.measure.difference.mean)


def _difference(name: str, pairs: Sequence[tuple[Record, Record]], seed: int) -> PairedDifference:
    values = [(left.scores[name], right.scores[name]) for left, right in pairs]
    confidence = 1 - _ERROR / len(CANDIDATES)
    return paired_difference([a for a, _ in values], [b for _, b in values], seed=seed, confidence=confidence)


def chosen(model: str, repository: Path, commit: str, tried: Sequence[Trial]) -> Policy:
    """The row for the user's own policies; without context where nothing pays."""
    winner = next((trial for trial in tried if trial.pays), None)
    evidence = f"holefill eval repo --tune-context on {repository.name} at {commit}, {time.strftime('%Y-%m-%d')}"
    glob = f"*{Path(model).name.lower().removesuffix('.gguf')}*"
    if winner is None:
        best = f"; the best was {tried[0].candidate.label}: {tried[0].figures}" if tried else ""
        few = f" (fewer than {MIN_CASES} cases decide nothing)" if tried and tried[0].measure.n < MIN_CASES else ""
        return Policy(glob, evidence=evidence, figures=f"no candidate pays{few}{best}")
    candidate = winner.candidate
    return Policy(glob, candidate.providers, candidate.budget_tokens, candidate.form, evidence, winner.figures)


def trials_json(tried: Sequence[Trial]) -> list[Mapping[str, object]]:
    return [
        {
            "context": trial.candidate.label,
            "n": trial.measure.n,
            **{
                name: [round(v, 2) for v in (d.difference.mean, d.difference.low, d.difference.high)]
                for name, d in ((MEASURE, trial.measure), (GUARD, trial.guard))
            },
            "pays": trial.pays,
        }
        for trial in tried
    ]


def _told(name: str, difference: PairedDifference) -> str:
    i = difference.difference
    return f"{name} {i.mean:+.1f} [{i.low:+.1f}, {i.high:+.1f}]"
