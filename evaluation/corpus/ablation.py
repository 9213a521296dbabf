"""``holefill train terms``: does a loss term pay? Every arm on the same examples and seeds, judged by the same holes of
packages nobody trained on. Rows go to a file as they come; a run that was stopped goes on there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.table import Table

from holefill.evaluation.metrics.bootstrap import Interval, paired_difference
from holefill.model.training.examples import Example, TrainingError
from holefill.model.training.terms.table import read_terms
from holefill.model.training.trainer import Recipe, foretold, train
from holefill.model.weights import Weights

BASE = "base"
ARMS = (
    *(BASE, "token_type=0.1", "two_pass=0.11", "statement=0.25", "type_adapter=1", "renaming=0.5", "contrastive=0.05"),
    "base x2",
    "base of 2",
)
"""``x2``: twice the steps, the compute of a term with a second forward. ``of 2``: drawn by loss from twice as many."""
MIN_SEEDS = 3
"""Fewer decide nothing."""
MEASURES = ("loss", "right", "end", "exact")


@dataclass(frozen=True, slots=True)
class Row:
    """One run; the values of one measure are one a held-out example."""

    arm: str
    seed: int
    settings: str
    """Of examples, holes and recipe: rows of others cannot be compared."""
    seconds: float
    last_loss: float
    values: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """An arm − the base: a hole's difference is the mean over seeds, the interval is over holes."""

    arm: str
    seeds: int
    seconds: float
    """Of one run, mean."""
    means: Mapping[str, float]
    differences: Mapping[str, Interval]
    pays: bool
    """The loss falls with an interval below 0, and with every one of at least ``MIN_SEEDS`` seeds."""


def run_arms(
    weights: Weights,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    recipe: Recipe,
    arms: Sequence[str],
    seeds: int,
    rows: Path,
    say: Callable[[str], None],
) -> Iterator[Row]:
    """Those in ``rows`` first. All arms of one seed before the next, so that a run cut off is still paired."""
    if not held_out:
        raise TrainingError("there is no held-out example to judge by: build more data, or raise the token limit")
    settings = hashlib.sha256((recipe.text(examples, "") + recipe.text(held_out, "")).encode()).hexdigest()[:16]
    done = {(row.arm, row.seed): row for row in read_rows(rows)}
    if any(row.settings != settings for row in done.values()):
        raise TrainingError(f"{rows} has rows of other settings or data: delete it, or name another --output")
    for seed in range(seeds):
        for arm in arms:
            row = done.get((arm, seed))
            if row is None:
                say(f"{arm}, seed {seed}")
                row = _run(weights, examples, held_out, replace(recipe, seed=seed), arm, settings)
                with rows.open("a", encoding="utf-8") as out:
                    cut_off = out.tell() and not rows.read_bytes().endswith(b"\n")
                    out.write("\n" * bool(cut_off) + json.dumps(asdict(row)) + "\n")
            yield row


def of_arm(recipe: Recipe, arm: str) -> Recipe:
    """Raises TrainingError for an arm that is none."""
    spelling = re.fullmatch(r"(\S+?)(?: of (?P<candidates>[1-9]))?(?: x(?P<times>[1-9]))?", arm)
    if spelling is None:
        raise TrainingError(f"--arm {arm!r}: write base or NAME=WEIGHT, behind it also ' of 2' or ' x2'")
    candidates, times = (int(spelling[group] or 1) for group in ("candidates", "times"))
    terms = () if spelling[1] == BASE else read_terms(spelling[1].split("+"))
    return replace(recipe, steps=recipe.steps * times, candidates=candidates, terms=terms)


def _run(
    weights: Weights, examples: Sequence[Example], held_out: Sequence[Example], recipe: Recipe, arm: str, settings: str
) -> Row:
    recipe = of_arm(recipe, arm)
    trained = train(weights, examples, recipe)
    measured = foretold(weights, trained.factors, held_out)
    values = {measure: [float(getattr(one, measure)) for one in measured] for measure in MEASURES}
    count = max(1, min(10, recipe.steps))
    last = sum(trained.losses[-count:]) / count
    return Row(arm, recipe.seed, settings, trained.seconds, last, values)


def read_rows(path: Path) -> list[Row]:
    """What a stopped run wrote; a last line cut off is left out."""
    rows: list[Row] = []
    if path.is_file():
        for line in path.read_text("utf-8").splitlines():
            try:
                rows.append(Row(**json.loads(line)))
            except (ValueError, TypeError):
                continue
    return rows


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    base = {row.seed: row for row in rows if row.arm == BASE}
    found: list[Verdict] = []
    for arm in dict.fromkeys(row.arm for row in rows):
        mine = [row for row in rows if row.arm == arm and row.seed in base]
        if not mine:
            continue
        differences = {measure: _difference([base[row.seed] for row in mine], mine, measure) for measure in MEASURES}
        falls = all(_mean(row.values["loss"]) < _mean(base[row.seed].values["loss"]) for row in mine)
        means = {measure: _mean([_mean(row.values[measure]) for row in mine]) for measure in MEASURES}
        pays = arm != BASE and len(mine) >= MIN_SEEDS and falls and differences["loss"].high < 0
        found.append(Verdict(arm, len(mine), _mean([row.seconds for row in mine]), means, differences, pays))
    return found


def _difference(base: Sequence[Row], arm: Sequence[Row], measure: str) -> Interval:
    plain, other = (
        [_mean(of_seeds) for of_seeds in zip(*(row.values[measure] for row in rows), strict=True)]
        for rows in (base, arm)
    )
    return paired_difference(plain, other).difference


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def table(found: Sequence[Verdict], holes: int) -> Table:
    title = f"{holes} held-out holes, arm − base, mean over seeds; exact: greedy with its own end, of 100"
    shown = Table(title=title, title_justify="left")
    for column in ("arm", "seeds", "s", "loss", "difference", "next token %", "exact %", "pays"):
        shown.add_column(column, justify="left" if column in ("arm", "pays") else "right")
    for one in found:
        cells = (str(one.seeds), f"{one.seconds:.0f}", f"{one.means['loss']:.3f}", told(one.differences["loss"]))
        more = (told(one.differences[measure], 100.0, 1) for measure in ("right", "exact"))
        shown.add_row(one.arm, *cells, *more, "pays" if one.pays else "")
    return shown


def told(interval: Interval, times: float = 1.0, digits: int = 3) -> str:
    low, mean, high = (times * value for value in (interval.low, interval.mean, interval.high))
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
