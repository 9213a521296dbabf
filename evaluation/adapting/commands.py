"""``holefill tune``: an adapter for one repository, from its own history, used only where it wins on later commits."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import click

from holefill.context.errors import ContextError
from holefill.evaluation.adapting.gate import GUARD, MEASURE, judge, wins
from holefill.evaluation.adapting.history import Split, temporal_split
from holefill.evaluation.corpus.commands import show_step
from holefill.evaluation.git import git
from holefill.evaluation.metrics.bootstrap import PairedDifference
from holefill.evaluation.runner import commit_name, cpu_name
from holefill.model import tuned
from holefill.model.errors import ModelError
from holefill.model.shipped import file_key, shipped_adapter
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer
from holefill.model.tuned import Tuned


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """The command line, parsed."""

    model: str
    commits: int
    cases: int
    minutes: float
    steps: int | None
    rank: int
    rate: float
    threads: int | None
    seed: int


@click.command(context_settings={"max_content_width": 120})
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path())
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Name, GGUF file or folder.")
@click.option("--commits", default=200, show_default=True, type=click.IntRange(min=2), help="How far to look back.")
@click.option("--cases", default=80, show_default=True, type=click.IntRange(min=1), help="From the later commits.")
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(min=0.01), help="Of training.")
@click.option("--steps", type=click.IntRange(min=1), help="Of training, instead of --minutes.")
@click.option("--rank", default=2, show_default=True, type=click.IntRange(min=1), help="2: under 2 MB for the 0.5B.")
@click.option("--rate", default=2e-4, show_default=True, help="Peak learning rate.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of training.  [default: all cores]")
@click.option("--seed", default=0, show_default=True, help="Of the cases and the training.")
@click.option("--status", is_flag=True, help="Show the verdict on this repository and whether its adapter serves.")
@click.option("--off", is_flag=True, help="Stop using its adapter; it stays on disk.")
@click.option("--on", is_flag=True, help="Use its adapter again; only one that won can be.")
@click.option("--delete", is_flag=True, help="Remove its adapter and the verdict.")
def tune(path: Path, status: bool, off: bool, on: bool, delete: bool, **given: object) -> None:
    """Train a small adapter on the history of the repository at PATH and judge it by its later commits.

    It learns on top of the adapter that comes with the model, if any. It serves this repository only, and only when it
    completes the later commits better than what serves without it, with an interval above 0. Nothing leaves this
    machine.
    """
    options = TuneOptions(**given)  # type: ignore[arg-type]  # click has checked every value
    if status + off + on + delete > 1:
        raise click.UsageError("give one of --status, --off, --on and --delete")
    try:
        root = Path(git(path, "rev-parse", "--show-toplevel").strip())
        if delete:
            tuned.delete(root, options.model)
            click.echo("deleted")
        elif status or off or on:
            click.echo(json.dumps(_switched(root, options.model, on if on or off else None)))
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


def _tune(root: Path, options: TuneOptions) -> None:
    began = time.monotonic()
    base = ModelStore.default().resolve(options.model)
    split = temporal_split(root, Tokenizer.load(base), commits=options.commits, cases=options.cases, seed=options.seed)
    click.echo(f"{len(split.texts)} examples from {split.commit[:12]}, {len(split.cases.cases)} later cases", err=True)
    folder = tuned.folder_of(root, options.model)
    fresh = folder / "fresh.safetensors"
    try:
        size = _trained(base, fresh, split, options)
        found = judge(options.model, fresh, split.cases, options.seed, _show_case)
        won = wins(found)
        result = Tuned(
            str(root), options.model, won, won, found[MEASURE].n, _interval(found[MEASURE]), _interval(found[GUARD]),
            split.commit, round(time.monotonic() - began, 1), size, file_key(shipped_adapter(options.model)),
        )  # fmt: skip
        if won:
            fresh.replace(folder / tuned.ADAPTER)
        else:  # what lost is not kept, and what served before was judged by older commits
            (folder / tuned.ADAPTER).unlink(missing_ok=True)
        tuned.save(root, result)
    finally:
        fresh.unlink(missing_ok=True)
    _verdict(result)


def _trained(base: Path, output: Path, split: Split, options: TuneOptions) -> int:
    import torch  # two seconds that --status need not pay

    from holefill.model.training.network import LoraShape
    from holefill.model.training.run import Plan, fit
    from holefill.model.training.trainer import Recipe

    torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    recipe = Recipe(
        steps=options.steps or 1,
        peak=options.rate,
        shape=LoraShape(options.rank, 2.0 * options.rank),
        seed=options.seed,
    )
    minutes = options.minutes if options.steps is None else None
    plan = Plan(
        base, output, recipe, minutes, data=f"git {split.commit}", commit=commit_name(),
        beneath=shipped_adapter(options.model),
    )  # fmt: skip
    plan.state.unlink(missing_ok=True)  # of a run that was killed: the history may have grown since
    return fit(plan, split.texts, tell=show_step).size


def _show_case(done: int, total: int) -> None:
    if done % 10 == 0 or done == total:
        click.echo(f"case {done} of {total}", err=True)


def _interval(found: PairedDifference) -> tuple[float, float, float]:
    return found.difference.mean, found.difference.low, found.difference.high


def _verdict(result: Tuned) -> None:
    mean, low, high = result.es
    said = "won: it serves this repository from the next start" if result.won else "did not win: it is not used"
    click.echo(f"{said} (edit similarity {mean:+.1f} [{low:+.1f}, {high:+.1f}], n {result.n})", err=True)
    click.echo(json.dumps({**dataclasses.asdict(result), "serves": result.serves, "device": cpu_name()}))
