"""``holefill train audit``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from holefill.evaluation.corpus.folder import HELD_OUT, TRAINING
from holefill.evaluation.corpus.options import (
    data_folder,
    max_tokens_option,
    model_option,
    say,
    seed_option,
    threads_option,
)
from holefill.evaluation.runner import commit_name, cpu_name
from holefill.model.errors import ModelError
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer


@click.command(short_help="What training text an adapter gives away.")
@data_folder
@click.option(
    "--adapter", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Audit this one, trained on FOLDER."
)
@model_option
@click.option("--vectors", default=10, show_default=True, type=click.IntRange(min=1), help="In front of the prompt.")
@click.option("--attack-steps", default=40, show_default=True, type=click.IntRange(min=1), help="Of learning them.")
@click.option("--attack-rate", default=1e-3, show_default=True, help="Learning rate of the attack.")
@click.option("--batch", default=4, show_default=True, type=click.IntRange(min=1), help="Texts a step, of both.")
@click.option("--count", default=48, show_default=True, type=click.IntRange(min=8), help="Texts to ask for; and known.")
@click.option("--per-level", default=1, show_default=True, type=click.IntRange(min=1), help="Canaries of each kind.")
@click.option("--texts", default=100, show_default=True, type=click.IntRange(min=1), help="Ordinary ones among them.")
@click.option("--rate", default=1e-3, show_default=True, help="Learning rate of the planted run.")
@click.option("--passes", default=1, show_default=True, type=click.IntRange(min=1), help="Over the planted texts.")
@max_tokens_option
@threads_option
@seed_option
def audit(
    folder: Path,
    adapter: Path | None,
    model: str,
    vectors: int,
    attack_steps: int,
    attack_rate: float,
    batch: int,
    count: int,
    per_level: int,
    texts: int,
    rate: float,
    passes: int,
    max_tokens: int,
    threads: int,
    seed: int,
) -> None:
    """What training text can be got out of an adapter again, by plain prompting and by learned vectors.

    Without --adapter, secrets are planted among texts of FOLDER at 1 to 64 copies, and one adapter is trained with the
    copies, one with each hole once; nothing is kept.
    """
    import torch

    from holefill.evaluation.corpus import audit as audits
    from holefill.evaluation.corpus.commands import show_step
    from holefill.evaluation.corpus.extraction import Attack
    from holefill.model.adapter_file import load_adapter
    from holefill.model.checkpoint import open_checkpoint
    from holefill.model.training.examples import read_texts
    from holefill.model.training.network import LoraShape
    from holefill.model.training.run import faster_dtype
    from holefill.model.training.trainer import Recipe
    from holefill.model.weights import load_dense

    torch.set_num_threads(threads)
    attack = Attack(vectors, attack_steps, batch, attack_rate, seed)
    try:
        base = ModelStore.default().resolve(model)
        tokenizer, device = Tokenizer.load(base), torch.device("cpu")
        weights = load_dense(open_checkpoint(base), faster_dtype(device), device)
        training = list(read_texts(folder / TRAINING))
        if adapter is None:
            recipe = Recipe(1, batch, rate, shape=LoraShape(), seed=seed)
            canaries = audits.planted_canaries(per_level, seed)
            short = sorted(training, key=lambda text: len(text.prefix) + len(text.suffix))[:texts]
            planted = audits.audit_planted(weights, tokenizer, short, canaries, recipe, passes, attack, say, show_step)
            line: dict[str, object] = {"planted": [dataclasses.asdict(one) for one in planted]}
        else:
            factors = load_adapter(adapter, base, weights.config).factors
            unseen = list(read_texts(folder / HELD_OUT))
            spoken = audits.audit_adapter(weights, factors, tokenizer, training, unseen, count, attack, max_tokens, say)
            line = {"adapter": str(adapter), "said": [dataclasses.asdict(one) for one in spoken]}
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps({**line, "commit": commit_name(), "device": cpu_name()}))
