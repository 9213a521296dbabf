"""``holefill eval check``: what the candidate check says of true answers, and of a model's own from saved runs.

A true answer that is flagged is a false alarm. Of a model's answers, those that are not exact count as wrong: how many
of the flagged are (precision), and how many of the wrong are flagged (caught). Nothing is generated.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click

from holefill.context.check import Checked, prepare
from holefill.context.check import check as check_fill
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import Cursor
from holefill.context.provider import Deadline
from holefill.context.types.typed_holes import TypedHoles
from holefill.evaluation.cases import Case, DataError, sample
from holefill.evaluation.metrics.bootstrap import mean_interval
from holefill.evaluation.metrics.latency import percentile
from holefill.evaluation.records import Record, read_run
from holefill.evaluation.runner import commit_name, cpu_name, request_for
from holefill.evaluation.suites.loaders import LOADERS
from holefill.evaluation.terminal import print_last_line, progress_bar
from holefill.evaluation.workspaces import Workspaces

_PATIENCE_MS = 5_000.0
_LANGUAGES = frozenset({"python", "typescript", "tsx", "javascript"})
"""Those that are checked for more than syntax."""
GOLD, RIGHT, WRONG = "gold", "right", "wrong"


@dataclass(frozen=True, slots=True)
class Judged:
    case: str
    language: str
    sort: str
    """``GOLD``; ``RIGHT`` and ``WRONG`` are a model's."""
    fill: str
    problems: tuple[str, ...]
    by_checker: bool
    ms: float


def answers_of(records: Iterable[Record]) -> Mapping[str, tuple[tuple[str, bool], ...]]:
    """Case → the different texts shown for it, in whichever arm, and whether they are exact.

    An answer that is exact up to where the true one ends, and goes on, is neither right nor wrong: it is left out.
    """
    found: dict[str, dict[str, bool]] = defaultdict(dict)
    for record in records:
        if record.shown.strip() and "em" in record.scores:
            exact = record.scores["em"] == 100
            if exact and record.target and record.shown.split() != record.target.split():
                continue
            found[record.id][record.shown] = found[record.id].get(record.shown, False) or exact
    return {case: tuple(texts.items()) for case, texts in found.items()}


def judged(
    cases: Sequence[Case],
    answers: Mapping[str, tuple[tuple[str, bool], ...]],
    workspaces: Workspaces,
    checkers: bool = True,
) -> Iterator[list[Judged]]:
    """Case by case, each with its file and checker as they are when a suggestion comes: the hole is known."""
    known: dict[WorkspaceIndex, TypedHoles] = {}
    try:
        for case in cases:
            with workspaces.around(case) as index:
                if index is None:
                    yield []
                    continue
                if index not in known:
                    known[index] = TypedHoles(index, checkers=checkers)
                    known[index].layer(case.language).ready(_PATIENCE_MS / 1000)
                yield _of_case(case, answers.get(case.id, ()), known[index], request_for(case, index.root).cursor)
    finally:
        for holes in known.values():
            holes.close()


def _of_case(case: Case, answers: Sequence[tuple[str, bool]], holes: TypedHoles, cursor: Cursor) -> list[Judged]:
    changed = [str(holes.index.root / path) for path in case.dropped]
    for path in changed:
        holes.changed_on_disk(path)
    holes.sync(cursor.path, cursor.text, cursor.language)
    holes.index.update(cursor.path, cursor.text)
    prepare(holes, cursor, Deadline.after_ms(_PATIENCE_MS))
    fills = [(case.target, GOLD), *((text, RIGHT if exact else WRONG) for text, exact in answers)]
    found = []
    for fill, sort in fills:
        began = time.perf_counter()
        told = check_fill(holes, cursor, fill, Deadline.after_ms(_PATIENCE_MS))
        found.append(_judged(case, sort, fill, told, (time.perf_counter() - began) * 1000))
    holes.index.release(cursor.path)
    for path in (*changed, cursor.path):
        holes.changed_on_disk(path)
    return found


def _judged(case: Case, sort: str, fill: str, told: Checked, ms: float) -> Judged:
    problems = tuple(f"{one.kind.value}: {one.message}" for one in told.problems)
    return Judged(case.id, case.language, sort, fill, problems, told.checked, ms)


def summary(found: Sequence[Judged]) -> dict[str, object]:
    """Shares in percent, with 95 % intervals where a bound is asked of them."""
    by_sort = {sort: [one for one in found if one.sort == sort] for sort in (GOLD, RIGHT, WRONG)}
    flagged = {sort: [100.0 * bool(one.problems) for one in ones] for sort, ones in by_sort.items()}
    own = [one for one in found if one.sort != GOLD and one.problems]
    return {
        "n": {sort: len(ones) for sort, ones in by_sort.items()},
        "flagged": {sort: int(sum(ones) / 100) for sort, ones in flagged.items()},
        "gold_flagged": _share(flagged[GOLD]),
        "precision": _share([100.0 * (one.sort == WRONG) for one in own]),
        "wrong_caught": _share(flagged[WRONG]),
        "by_checker": round(100 * sum(one.by_checker for one in found) / max(1, len(found)), 1),
        "p50_ms": round(percentile([one.ms for one in found], 50), 1) if found else None,
        "p95_ms": round(percentile([one.ms for one in found], 95), 1) if found else None,
    }


def _share(values: Sequence[float]) -> list[float] | None:
    if not values:
        return None
    interval = mean_interval(values)
    return [round(value, 1) for value in (interval.mean, interval.low, interval.high)]


@click.command(short_help="Candidate check: false alarms, precision and catch.")
@click.argument("runs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="Folder with replay sets.")
@click.option("--repos", default="", metavar="NAME,…", help="Only these repositories.")
@click.option("--limit", type=click.IntRange(min=1), help="So many cases.  [default: all]")
@click.option("--seed", default=0, show_default=True, help="Of the cases.")
@click.option("--no-checker", is_flag=True, help="Without type checkers: the floor alone.")
@click.option("--flagged", "show", is_flag=True, help="Print every answer with a problem, for reading.")
def check(
    runs: tuple[Path, ...], data: Path, repos: str, limit: int | None, seed: int, no_checker: bool, show: bool
) -> None:
    """Candidate check: false alarms on true answers; precision and catch on a model's own, from replay RUNS.

    RUNS are what `holefill eval replay` writes to --output, with the answers' text; the copies in evaluation/results
    have none.
    """
    case_set = LOADERS["replay"](data, tuple(name for name in repos.split(",") if name), seed)
    answers = answers_of(record for run in runs for record in read_run(run).records)
    if runs and not answers:
        raise DataError("these runs have no text of answers: run `holefill eval replay --output FOLDER` for some")
    wanted = [case for case in case_set.cases if case.language in _LANGUAGES and (not runs or case.id in answers)]
    cases = sample(wanted, limit, seed)
    if not cases:
        raise DataError(
            "no Python, TypeScript or JavaScript case of these runs is in the data: look at --data, --repos"
        )
    found: list[Judged] = []
    with closing(Workspaces(case_set.workspaces)) as workspaces, progress_bar() as bar:
        try:
            asked = judged(cases, answers, workspaces, checkers=not no_checker)
            for ones in bar.track(asked, total=len(cases), description="check"):
                found += ones
        except KeyboardInterrupt:
            click.echo("interrupted: what follows covers the cases reached", err=True)
    for one in found if show else ():
        if one.problems:
            click.echo(f"{one.sort:5} {one.case}  {one.fill!r}\n      {'; '.join(one.problems)}")
    languages = sorted({one.language for one in found})
    by_language = {language: summary([one for one in found if one.language == language]) for language in languages}
    print_last_line(
        {"suite": "check", "metrics": summary(found) | {"by_language": by_language}, "runs": [str(run) for run in runs],
         "device": cpu_name(), "commit": commit_name()}
    )  # fmt: skip
