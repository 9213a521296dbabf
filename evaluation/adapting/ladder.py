"""``holefill tune --ladder``: every rung on the same examples; what it costs and what it brings on the later commits.

Loss instead of answers: it needs one forward a case, so that all rungs take little more than their training.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table

from holefill.evaluation.adapting.history import Split
from holefill.evaluation.adapting.rungs import RUNGS, shape_of
from holefill.evaluation.corpus.build import windowed
from holefill.evaluation.corpus.holes import Hole
from holefill.evaluation.metrics.bootstrap import Interval, paired_difference
from holefill.model.adapter_file import load_adapter, stacked
from holefill.model.checkpoint import open_checkpoint
from holefill.model.errors import ModelError
from holefill.model.tokenizer import Tokenizer
from holefill.model.training.examples import Example, TrainingText, encode_all
from holefill.model.training.run import faster_dtype
from holefill.model.training.trainer import Recipe, StepDone, example_losses, train
from holefill.model.weights import load_dense


@dataclass(frozen=True, slots=True)
class Measured:
    """One rung. Losses are means of a case's tokens; changes are with the adapter − without."""

    rung: str
    rank: int
    size: int
    """Bytes in bf16."""
    seconds: float
    loss: float
    change: Interval
    outside: Interval


@dataclass(frozen=True, slots=True)
class Ladder:
    base: Path
    beneath: Path | None
    split: Split
    outside: Sequence[TrainingText]
    steps: int
    batch: int
    rank: int
    seed: int
    max_tokens: int


def climb(
    ladder: Ladder, say: Callable[[str], None], tell: Callable[[StepDone], None]
) -> tuple[int, int, float, list[Measured]]:
    """(examples trained, cases, their loss without, rungs). A rung that is too much for the model is said and left out.
    Raises ModelError."""
    tokenizer = Tokenizer.load(ladder.base)
    source = open_checkpoint(ladder.base)
    examples = encode_all(ladder.split.texts, tokenizer, ladder.max_tokens)
    later = encode_all(later_texts(ladder.split, tokenizer, ladder.seed), tokenizer, 2 * ladder.max_tokens)
    elsewhere = encode_all(ladder.outside, tokenizer, ladder.max_tokens)
    say("loading the model")
    device = torch.device("cpu")
    weights = load_dense(source, faster_dtype(device), device)
    lower = {} if ladder.beneath is None else load_adapter(ladder.beneath, ladder.base, weights.config).factors

    def losses(factors: dict[str, torch.Tensor], cases: Sequence[Example]) -> list[float]:
        return example_losses(weights, factors, cases)

    say(f"loss of {len(later)} later cases without an adapter of the repository")
    plain, plain_elsewhere = losses(dict(lower), later), losses(dict(lower), elsewhere)
    found: list[Measured] = []
    for name, rung in RUNGS.items():
        try:
            shape = shape_of(name, ladder.rank, weights.config)
        except ModelError as error:
            say(str(error))
            continue
        say(f"rung {name}")
        recipe = Recipe(ladder.steps, ladder.batch, rung.rate, shape=shape, seed=ladder.seed)
        began = time.monotonic()
        trained = train(weights, examples, recipe, beneath=lower, tell=tell)
        seconds = time.monotonic() - began
        both = stacked(lower, trained.factors)
        with_it, with_it_elsewhere = losses(both, later), losses(both, elsewhere)
        found.append(
            Measured(
                name,
                0 if shape.whole or shape.prefix else shape.rank,
                2 * sum(factor.numel() for factor in trained.factors.values()),
                seconds,
                sum(with_it) / len(with_it),
                paired_difference(plain, with_it, seed=ladder.seed).difference,
                paired_difference(plain_elsewhere, with_it_elsewhere, seed=ladder.seed).difference,
            )
        )
    return ladder.steps * ladder.batch, len(later), sum(plain) / len(plain), found


def later_texts(split: Split, tokenizer: Tokenizer, seed: int) -> list[TrainingText]:
    """The judging cases, windowed as the examples are."""
    generator = random.Random(f"{seed}/later")
    return [
        windowed(
            case.prefix + case.target + case.suffix,
            Hole(case.kind, len(case.prefix), len(case.prefix) + len(case.target)),
            case.language,
            tokenizer,
            generator,
            case.path,
        )
        for case in split.cases.cases
    ]


def table(examples: int, cases: int, plain: float, rungs: Sequence[Measured]) -> Table:
    title = f"{examples} examples each; loss of {cases} later cases, {plain:.3f} without; the less the better"
    shown = Table(title=title, title_justify="left")
    for column in ("rung", "rank", "MB", "seconds", "loss", "change", "change elsewhere"):
        shown.add_column(column, justify="left" if column == "rung" else "right")
    for rung in rungs:
        cells = (str(rung.rank or "–"), f"{rung.size / 1e6:.2f}", f"{rung.seconds:.0f}", f"{rung.loss:.3f}")
        shown.add_row(rung.rung, *cells, _told(rung.change), _told(rung.outside))
    return shown


def _told(interval: Interval) -> str:
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
