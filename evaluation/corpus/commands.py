"""``holefill train``: build fill-in-the-middle data from packages, and train a low-rank adapter on it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holefill.evaluation.cases import DataError
from holefill.evaluation.corpus.acceptance import acceptance
from holefill.evaluation.corpus.audit_commands import audit
from holefill.evaluation.corpus.build import Options, build
from holefill.evaluation.corpus.duplicates import evaluation_texts
from holefill.evaluation.corpus.folder import HELD_OUT, MANIFEST, TRAINING
from holefill.evaluation.corpus.options import say, seed_option
from holefill.evaluation.corpus.packages import Archive, fetch, read_table
from holefill.evaluation.corpus.term_commands import terms
from holefill.evaluation.runner import commit_name, cpu_name
from holefill.model.copies import CERTAIN, SUFFIX, Fingerprints, copies_beside, fingerprints_of
from holefill.model.errors import ModelError
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer

if TYPE_CHECKING:
    from holefill.model.training.trainer import StepDone

PACKAGES = Path(__file__).with_name("packages.toml")
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    short_help="Build training data, train a low-rank adapter.",
)
def train() -> None:
    """Teach a model its job: build data from permissive packages, train a low-rank adapter."""


train.add_command(acceptance)
train.add_command(terms)
train.add_command(audit)


@train.command(short_help="Fetch packages, cut examples from them.")
@click.argument("folder", type=_FOLDER)
@click.option("--packages", type=click.Path(exists=True, path_type=Path), default=PACKAGES, help="Table of packages.")
@click.option("--archives", type=_FOLDER, help="Where fetched packages are kept.  [default: FOLDER/archives]")
@click.option("--exclude", type=click.Path(exists=True, path_type=Path), help="Evaluation data: nothing in it is used.")
@click.option("--examples", default=3000, show_default=True, type=click.IntRange(min=1), help="How many.")
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Whose tokenizer cuts the windows.")
@click.option("--labels", is_flag=True, help="With types of tokens and renamed twins, which loss terms read.")
@click.option(
    "--window", type=click.IntRange(min=1), help="Tokens before and behind a hole at most.  [default: as prompts have]"
)
@seed_option
def data(
    folder: Path,
    packages: Path,
    archives: Path | None,
    exclude: Path | None,
    examples: int,
    model: str,
    labels: bool,
    window: int | None,
    seed: int,
) -> None:
    """Fetch the packages and cut examples from them into FOLDER; the same seed gives the same bytes."""
    try:
        tokenizer = Tokenizer.load(ModelStore.default().resolve(model))
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    found: list[Archive] = []
    for package in read_table(packages):
        try:
            found.append(fetch(package, archives or folder / "archives"))
        except DataError as error:
            click.echo(f"left out: {error.message}", err=True)
    options = Options(examples=examples, seed=seed, labels=labels, window=window)
    forbidden = evaluation_texts(exclude) if exclude is not None else ()
    built = build(found, tokenizer, options, forbidden, lambda name, made: click.echo(f"{made:5} {name}", err=True))
    if not built.training:
        raise DataError("no package gave an example: look at the reasons above")
    from holefill.model.training.examples import write_texts

    folder.mkdir(parents=True, exist_ok=True)
    write_texts(folder / TRAINING, built.training)
    write_texts(folder / HELD_OUT, built.held_out)
    (folder / MANIFEST).write_text(built.manifest(options) + "\n", "utf-8")
    click.echo(json.dumps({"training": len(built.training), "held_out": len(built.held_out), "folder": str(folder)}))


@train.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The adapter's file.")
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Name, GGUF file or folder.")
@click.option("--steps", type=click.IntRange(min=1), help="Number of steps.  [default: one pass over the data]")
@click.option(
    "--minutes", type=click.FloatRange(min=0.01), help="Instead of --steps: as many as fit, by a short trial."
)
@click.option(
    "--start", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Adapter to go on from, of that rank."
)
@click.option("--batch", default=8, show_default=True, type=click.IntRange(min=1), help="Examples a step.")
@click.option("--rank", default=16, show_default=True, type=click.IntRange(min=1), help="Size of the adapter.")
@click.option("--rate", default=2e-4, show_default=True, help="Peak learning rate.")
@click.option("--term", multiple=True, metavar="NAME=WEIGHT", help="A loss term beside the middle's; again.")
@click.option(
    "--candidates",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Looked at for each example learned from: those with a higher loss are drawn more often.",
)
@click.option("--max-tokens", default=640, show_default=True, type=click.IntRange(min=32), help="Longer ones are left.")
@click.option("--threads", type=click.IntRange(min=1), help="The result depends on it in its last bits.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@seed_option
def run(
    folder: Path,
    output: Path,
    model: str,
    steps: int | None,
    minutes: float | None,
    start: Path | None,
    batch: int,
    rank: int,
    rate: float,
    term: tuple[str, ...],
    candidates: int,
    max_tokens: int,
    threads: int | None,
    device: str,
    seed: int,
) -> None:
    """Train an adapter on the data in FOLDER. Killed, the same command goes on from the last saved step."""
    import torch  # two seconds that --help need not pay

    from holefill.model.training.examples import read_texts
    from holefill.model.training.network import LoraShape
    from holefill.model.training.run import Plan, fit
    from holefill.model.training.terms.table import read_terms
    from holefill.model.training.trainer import Recipe

    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    try:
        texts = list(read_texts(folder / TRAINING))
        recipe = Recipe(
            steps=steps or max(1, len(texts) // batch),
            batch=batch,
            peak=rate,
            shape=LoraShape(rank, 2.0 * rank),
            seed=seed,
            terms=read_terms(term),
            candidates=candidates,
        )
        plan = Plan(
            base=ModelStore.default().resolve(model),
            output=output,
            recipe=recipe,
            minutes=minutes,
            max_tokens=max_tokens,
            data=_hash(folder / MANIFEST),
            commit=commit_name(),
            device=device,
            start=start,
        )
        result = fit(plan, texts, list(read_texts(folder / HELD_OUT)), show_step, say)
        earlier = copies_beside(start)
        _learned([folder], earlier or ()).save(output.with_suffix(SUFFIX))
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise click.ClickException("stopped: the same command goes on from the last saved step") from None
    line = {**dataclasses.asdict(result), "adapter": str(result.adapter), "device": _device(device)}
    click.echo(json.dumps({**line, "commit": plan.commit, "data": plan.data, "seed": seed}))


@train.command(short_help="Fingerprint what an answer must not repeat.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="ADAPTER.copies.")
def copies(folders: tuple[Path, ...], output: Path) -> None:
    """Fingerprint the data in FOLDERS: what an answer must not repeat at length. `train run` does it for its own."""
    try:
        learned = _learned(folders)
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    learned.save(output)
    size = output.stat().st_size
    click.echo(json.dumps({"fingerprints": len(learned), "bytes": size, "certain_characters": CERTAIN}))


def _learned(folders: Sequence[Path], earlier: Iterable[int] = ()) -> Fingerprints:
    from holefill.model.training.examples import read_texts

    texts = (text for folder in folders for text in read_texts(folder / TRAINING))
    found = fingerprints_of(text.prefix + text.middle + text.suffix for text in texts)
    return Fingerprints((*found, *earlier))


def show_step(done: StepDone) -> None:
    click.echo(
        f"step {done.step} of {done.steps}  loss {done.loss:.3f}  {done.examples_per_second:.2f} examples/s  "
        f"{done.seconds_left / 60:.1f} min left",
        err=True,
    )


def _hash(manifest: Path) -> str:
    try:
        return hashlib.sha256(manifest.read_bytes()).hexdigest()[:32]
    except OSError as error:
        raise DataError(f"{manifest} cannot be read: build the folder with `holefill train data`") from error


def _device(device: str) -> str:
    return cpu_name() if device == "cpu" else device
