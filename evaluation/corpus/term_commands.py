"""``holefill train terms``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from holefill.evaluation.corpus.folder import HELD_OUT, TRAINING
from holefill.evaluation.corpus.options import data_folder, max_tokens_option, model_option, say, threads_option
from holefill.evaluation.runner import commit_name, cpu_name
from holefill.evaluation.terminal import print_table
from holefill.model.errors import ModelError
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer


@click.command(short_help="Compare the loss terms on data with labels.")
@data_folder
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Rows; goes on there.")
@model_option
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="NAME=WEIGHT",
    help="Also base, base x2, base of 2, A=1+B=1.  [default: all]",
)
@click.option("--steps", default=30, show_default=True, type=click.IntRange(min=1), help="Of each run.")
@click.option("--batch", default=4, show_default=True, type=click.IntRange(min=1), help="Examples a step.")
@click.option("--rank", default=16, show_default=True, type=click.IntRange(min=1), help="Size of the adapter.")
@click.option("--rate", default=2e-4, show_default=True, help="Peak learning rate.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="Runs of each arm.")
@click.option("--held-out", default=128, show_default=True, type=click.IntRange(min=1), help="Holes to judge by.")
@max_tokens_option
@threads_option
def terms(
    folder: Path,
    output: Path,
    model: str,
    arms: tuple[str, ...],
    steps: int,
    batch: int,
    rank: int,
    rate: float,
    seeds: int,
    held_out: int,
    max_tokens: int,
    threads: int,
) -> None:
    """Compare the loss terms on the data in FOLDER (built with --labels). Stopped, the same command goes on."""
    import torch

    from holefill.evaluation.corpus import ablation
    from holefill.model.checkpoint import open_checkpoint
    from holefill.model.training.examples import encode_all, read_texts
    from holefill.model.training.network import LoraShape
    from holefill.model.training.run import faster_dtype
    from holefill.model.training.trainer import Recipe
    from holefill.model.weights import load_dense

    torch.set_num_threads(threads)
    try:
        base = ModelStore.default().resolve(model)
        tokenizer, device = Tokenizer.load(base), torch.device("cpu")
        examples = encode_all(read_texts(folder / TRAINING), tokenizer, max_tokens)
        judged = encode_all(read_texts(folder / HELD_OUT), tokenizer, max_tokens)[:held_out]
        weights = load_dense(open_checkpoint(base), faster_dtype(device), device)
        recipe = Recipe(steps, batch, rate, shape=LoraShape(rank, 2.0 * rank))
        wanted = arms or ablation.ARMS
        made = ablation.run_arms(weights, examples, judged, recipe, wanted, seeds, output, say)
        found = ablation.verdicts(list(made))
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    print_table(ablation.table(found, len(judged)))
    line = {"holes": len(judged), "examples": steps * batch, "arms": [dataclasses.asdict(one) for one in found]}
    click.echo(json.dumps({**line, "commit": commit_name(), "device": cpu_name()}))
