"""``holefill eval compare``: arms of saved runs against each other, case by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from holefill.evaluation.cases import DataError
from holefill.evaluation.metrics.bootstrap import PairedDifference
from holefill.evaluation.records import Record, RunHeader, read_run
from holefill.evaluation.summary import pair, paired_json, same_prompts
from holefill.evaluation.terminal import print_last_line, print_paired


@dataclass(frozen=True, slots=True)
class SavedArm:
    """One context of one saved run."""

    path: Path
    header: RunHeader
    context: str
    records: tuple[Record, ...]

    @property
    def name(self) -> str:
        return f"{self.path}@{self.context}"

    def label(self, one_file: bool) -> str:
        header = self.header
        facts = (header.engine, header.model, f"context {self.context}", header.commit)
        return self.context if one_file else " ".join(fact for fact in facts if fact)


@click.command(short_help="Compare saved runs, case by case.")
@click.argument("a", metavar="A[@ARM]")
@click.argument("b", metavar="[B[@ARM]]", required=False)
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print the last line only.")
def compare(a: str, b: str | None, seed: int, as_json: bool) -> None:
    """Compare saved runs, case by case, with the interval of every difference.

    A B: run B against run A. A alone: its other contexts against its first. RUN@ARM is one context of a run of
    several: `compare run.jsonl@off run.jsonl@on`.
    """
    first, others = _sides(a, b)
    one_file = all(other.path == first.path for other in others)
    found: dict[str, dict[str, object]] = {}
    for other in others:
        differences = _differences(first, other, seed)
        same, known = same_prompts(first.records, other.records)
        if not as_json:
            print_paired(first.label(one_file), other.label(one_file), differences)
            if known:
                click.echo(f"prompts of the same token ids: {same} of {known}")
        found[other.context if one_file else other.name] = {
            "b": other.name,
            "n": max(d.n for d in differences.values()),
            "paired": paired_json(differences),
            "same_prompts": {"n": known, "same": same},
        }
    line: dict[str, object] = {"suite": first.header.suite, "a": first.name, **next(iter(found.values()))}
    print_last_line(line if len(found) == 1 else {**line, "paired_with": found})


def _sides(a: str, b: str | None) -> tuple[SavedArm, Sequence[SavedArm]]:
    """The arm that the others are compared with, and those."""
    if b is not None:
        return _one(a), [_one(b)]
    arms = _arms(a)
    if len(arms) == 1:
        raise DataError(f"{arms[0].name} is one arm: name a second run, or RUN@ARM, to compare it with")
    return arms[0], arms[1:]


def _one(given: str) -> SavedArm:
    arms = _arms(given)
    if len(arms) > 1:
        raise DataError(f"{given} holds several arms: say which, as {' or '.join(arm.name for arm in arms)}")
    return arms[0]


def _arms(given: str) -> list[SavedArm]:
    """Of ``FILE`` all, in the order they ran; of ``FILE@ARM`` that one."""
    path, wanted = Path(given), ""
    if not path.is_file() and "@" in given:
        name, _, wanted = given.rpartition("@")
        path = Path(name)
    if not path.is_file():
        raise DataError(f"{path} is no file: give a saved run, or RUN@ARM")
    run = read_run(path)
    contexts = list(dict.fromkeys(record.context for record in run.records))
    if not contexts:
        raise DataError(f"{path} holds no case yet: finish the run by --resume")
    if wanted and wanted not in contexts:
        raise DataError(f"{path} has no arm {wanted!r}: there is {', '.join(contexts)}")
    return [
        SavedArm(path, run.header, context, tuple(record for record in run.records if record.context == context))
        for context in ([wanted] if wanted else contexts)
    ]


def _differences(a: SavedArm, b: SavedArm, seed: int) -> Mapping[str, PairedDifference]:
    if a.header.suite != b.header.suite:
        raise DataError(
            f"{a.path} is a run of {a.header.suite}, {b.path} one of {b.header.suite}: compare like with like"
        )
    differences = pair(a.records, b.records, seed)
    if not differences:
        raise DataError(f"{a.name} and {b.name} have no case in common: run both with the same --limit and --seed")
    return differences
