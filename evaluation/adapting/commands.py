"""``holefill tune``: an adapter for one repository, from its own history, used only where it wins on later commits."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holefill.context.errors import ContextError
from holefill.evaluation.adapting.gate import GUARD, MEASURE, judge, wins
from holefill.evaluation.adapting.history import Split, temporal_split
from holefill.evaluation.adapting.outside import BOUND, outside_texts
from holefill.evaluation.adapting.progress import counted
from holefill.evaluation.corpus.commands import show_step
from holefill.evaluation.git import git
from holefill.evaluation.metrics.bootstrap import PairedDifference
from holefill.evaluation.runner import commit_name, cpu_name
from holefill.evaluation.terminal import print_table
from holefill.model import tuned
from holefill.model.errors import ModelError
from holefill.model.shipped import file_key, shipped_adapter
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer
from holefill.model.training.examples import TrainingText
from holefill.model.tuned import Tuned

if TYPE_CHECKING:  # torch
    from holefill.model.training.run import Result as TrainingResult

BATCH, MAX_TOKENS = 4, 400
"""Smaller steps than `holefill train` takes: minutes on one core are a few hundred examples."""

LADDER_STEPS = 40


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """The command line, parsed."""

    model: str
    commits: int
    cases: int
    minutes: float
    steps: int | None
    rank: int
    rung: str
    rate: float | None
    threads: int | None
    seed: int


@click.command(context_settings={"max_content_width": 120}, short_help="Train an adapter on a repository's history.")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path())
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Name, GGUF file or folder.")
@click.option("--commits", default=200, show_default=True, type=click.IntRange(min=2), help="How far to look back.")
@click.option("--cases", default=80, show_default=True, type=click.IntRange(min=1), help="From the later commits.")
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(min=0.01), help="Of training.")
@click.option("--steps", type=click.IntRange(min=1), help="Of training, instead of --minutes.")
@click.option("--rank", default=2, show_default=True, type=click.IntRange(min=1), help="2: under 2 MB for the 0.5B.")
@click.option(
    "--rung",
    type=click.Choice(("last", "prefix", "lora", "full")),
    default="lora",
    show_default=True,
    help="What is trained: the last 4 layers or all of them, both by low rank and of the same size, or, of toy models, "
    "every weight; prefix: 20 rows of keys and values a layer, by --ladder only.",
)
@click.option("--rate", type=float, help="Peak learning rate.  [default: the rung's, 0.001 for lora and last]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of training.  [default: all cores]")
@click.option("--seed", default=0, show_default=True, help="Of the cases and the training.")
@click.option("--ladder", is_flag=True, help="Compare the rungs by loss on the later commits; nothing is kept.")
@click.option("--status", is_flag=True, help="Show the verdict on this repository and whether its adapter serves.")
@click.option("--off", is_flag=True, help="Stop using its adapter; it stays on disk.")
@click.option("--on", is_flag=True, help="Use its adapter again; only one that won can be.")
@click.option("--delete", is_flag=True, help="Remove its adapter and the verdict.")
def tune(path: Path, ladder: bool, status: bool, off: bool, on: bool, delete: bool, **given: object) -> None:
    """Train a small adapter on the history of the repository at PATH and judge it by its later commits.

    It learns on top of the adapter that comes with the model, if any. It serves this repository only, and only when it
    completes the later commits better than what serves without it, with an interval above 0. Nothing leaves this
    machine.
    """
    options = TuneOptions(**given)  # type: ignore[arg-type]  # click has checked every value
    if ladder + status + off + on + delete > 1:
        raise click.UsageError("give one of --ladder, --status, --off, --on and --delete")
    try:
        root = Path(git(path, "rev-parse", "--show-toplevel").strip())
        if delete:
            tuned.delete(root, options.model)
            click.echo("deleted")
        elif status or off or on:
            click.echo(json.dumps(_switched(root, options.model, on if on or off else None)))
        elif ladder:
            _climb(root, options)
        else:
            _tune(root, options)
    except (ModelError, ContextError) as error:
        raise click.ClickException(str(error)) from error


def _switched(root: Path, model: str, wanted: bool | None) -> dict[str, object]:
    found = tuned.find(root, model)
    if found is None:
        raise tuned.TunedError(f"{root} has no tuned adapter for {model}: `holefill tune` makes one")
    if wanted is not None:
        if wanted and found.outdated:
            raise tuned.TunedError("the adapter it stands on came with another version of holefill: tune again")
        if wanted and not found.won:
            raise tuned.TunedError("its adapter did not win on the later commits, so it is not used: tune again")
        found = dataclasses.replace(found, enabled=wanted)
        tuned.save(root, found)
    return {**dataclasses.asdict(found), "outdated": found.outdated, "serves": found.serves}


def _read(root: Path, tokenizer: Tokenizer, options: TuneOptions) -> Split:
    _say("reading the history")
    split = temporal_split(root, tokenizer, commits=options.commits, cases=options.cases, seed=options.seed)
    told = f"{len(split.texts)} examples up to {split.commit[:12]}, {len(split.cases.cases)} cases of the commits since"
    _say(told)
    return split


def _tune(root: Path, options: TuneOptions) -> None:
    from holefill.evaluation.adapting.rungs import must_serve  # torch

    must_serve(options.rung)
    began = time.monotonic()
    base = ModelStore.default().resolve(options.model)
    tokenizer = Tokenizer.load(base)
    split = _read(root, tokenizer, options)
    folder = tuned.folder_of(root, options.model)
    fresh = folder / "fresh.safetensors"
    try:
        trained = _trained(base, fresh, split, outside_texts(tokenizer, options.seed), options)
        outside = _risen(trained)
        _say("loading the model twice, without the adapter and with it")
        found = judge(options.model, fresh, split.cases, options.seed, counted("judging, answers"))
        won = wins(found, outside)
        result = Tuned(
            str(root), options.model, won, won, found[MEASURE].n, _interval(found[MEASURE]), _interval(found[GUARD]),
            split.commit, round(time.monotonic() - began, 1), trained.size, round(outside, 4),
            file_key(shipped_adapter(options.model)),
        )  # fmt: skip
        if won:
            fresh.replace(folder / tuned.ADAPTER)
        else:  # what lost is not kept, and what served before was judged by older commits
            (folder / tuned.ADAPTER).unlink(missing_ok=True)
        tuned.save(root, result)
    finally:  # the history may have grown by the next time, so that nothing of a stopped run can be gone on from
        for left in (fresh, fresh.with_suffix(".state.pt"), fresh.with_suffix(".state.part")):
            left.unlink(missing_ok=True)
    _verdict(result, trained.examples)


def _trained(
    base: Path, output: Path, split: Split, outside: Sequence[TrainingText], options: TuneOptions
) -> TrainingResult:
    import torch  # two seconds that --status need not pay

    from holefill.evaluation.adapting.rungs import RUNGS, shape_of
    from holefill.model.checkpoint import open_checkpoint
    from holefill.model.training.run import Plan, fit
    from holefill.model.training.trainer import Recipe

    torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    recipe = Recipe(
        steps=options.steps or 1,
        batch=BATCH,
        peak=options.rate or RUNGS[options.rung].rate,
        shape=shape_of(options.rung, options.rank, open_checkpoint(base).config),
        seed=options.seed,
    )
    minutes = options.minutes if options.steps is None else None
    plan = Plan(
        base, output, recipe, minutes, MAX_TOKENS, data=f"git {split.commit}", commit=commit_name(),
        beneath=shipped_adapter(options.model),
    )  # fmt: skip
    plan.state.unlink(missing_ok=True)  # of a run that was killed: the history may have grown since
    return fit(plan, split.texts, outside, show_step, _say)


def _say(stage: str) -> None:
    click.echo(stage, err=True)


def _climb(root: Path, options: TuneOptions) -> None:
    import torch

    from holefill.evaluation.adapting import ladder

    torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    base = ModelStore.default().resolve(options.model)
    tokenizer = Tokenizer.load(base)
    split = _read(root, tokenizer, options)
    outside = outside_texts(tokenizer, options.seed)
    steps = options.steps or LADDER_STEPS
    wanted = ladder.Ladder(
        base, shipped_adapter(options.model), split, outside, steps, BATCH, options.rank, options.seed, MAX_TOKENS
    )
    examples, cases, plain, rungs = ladder.climb(wanted, _say, show_step)
    print_table(ladder.table(examples, cases, plain, rungs))
    line = {"examples": examples, "cases": cases, "loss": plain, "rungs": [dataclasses.asdict(rung) for rung in rungs]}
    click.echo(json.dumps({**line, "device": cpu_name()}))


def _risen(trained: TrainingResult) -> float:
    """The loss of the holes' tokens elsewhere, after − before."""
    assert trained.before is not None
    assert trained.after is not None
    return trained.after[0] - trained.before[0]


def _interval(found: PairedDifference) -> tuple[float, float, float]:
    return found.difference.mean, found.difference.low, found.difference.high


def _verdict(result: Tuned, examples: int) -> None:
    mean, low, high = result.es
    if result.won:
        said = "won: it serves this repository from the next start"
    elif result.outside > BOUND:
        said = f"refused: it unlearns other code (loss {result.outside:+.3f}, allowed {BOUND:+.3f}), so it is not used"
    else:
        said = "did not win: it is not used"
    similarity = f"edit similarity {mean:+.1f} [{low:+.1f}, {high:+.1f}], n {result.n}"
    click.echo(f"{said} ({similarity}, loss elsewhere {result.outside:+.3f})", err=True)
    line = {**dataclasses.asdict(result), "serves": result.serves, "examples": examples, "device": cpu_name()}
    click.echo(json.dumps(line))
