"""``holefill train acceptance``: the head that tells how far a draft model may guess ahead of a larger one."""

from __future__ import annotations

import hashlib
import json
import random
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holefill.evaluation.cases import DataError
from holefill.evaluation.corpus.folder import HELD_OUT, MANIFEST, TRAINING
from holefill.evaluation.corpus.options import data_folder, seed_option
from holefill.evaluation.runner import commit_name
from holefill.model.errors import ModelError
from holefill.model.store import ModelStore

if TYPE_CHECKING:
    from holefill.model.tokenizer import Tokenizer
    from holefill.model.training.acceptance import Pairs

MAX_PROMPT = 512
SHARE_HELD_OUT = 0.2


@click.command(short_help="Record guesses, train an acceptance head.")
@data_folder
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The head's file.")
@click.option("--target", default="qwen2.5-coder-1.5b", show_default=True, help="Name, GGUF file or folder.")
@click.option("--draft", default="qwen2.5-coder-0.5b", show_default=True, help="Name, GGUF file or folder.")
@click.option("--prompts", default=400, show_default=True, type=click.IntRange(min=5), help="To record answers to.")
@click.option("--tokens", default=48, show_default=True, type=click.IntRange(min=2), help="Of an answer, at most.")
@seed_option
def acceptance(folder: Path, output: Path, target: str, draft: str, prompts: int, tokens: int, seed: int) -> None:
    """Record guesses of --draft and what --target says instead, on the data in FOLDER, and train a head on them.

    What was recorded is kept beside the head (OUTPUT.pairs-*.npz) and not recorded again: stopped, the same command
    goes on.
    """
    try:
        line = _train(folder, output, target, draft, (prompts, tokens, seed))
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(line))


def _train(folder: Path, output: Path, target: str, draft: str, size: tuple[int, int, int]) -> dict[str, object]:
    from holefill.model.adapter_file import base_hash  # torch: two seconds that --help need not pay
    from holefill.model.spec.acceptance import HeadCard, save_head
    from holefill.model.training.acceptance import HeadRecipe, train_head

    large, small = (ModelStore.default().resolve(name) for name in (target, draft))
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise DataError(f"{manifest} is missing: build the folder with `holefill train data`")
    data = hashlib.sha256(manifest.read_bytes()).hexdigest()[:32]
    learned, held_out = (_recorded(folder / name, output, large, small, size, data) for name in (TRAINING, HELD_OUT))
    card = HeadCard(base_hash(large), base_hash(small), data=data, commit=commit_name())
    head = train_head(learned, held_out, card, HeadRecipe(seed=size[2]))
    save_head(output, head)
    return {"head": str(output), "bytes": output.stat().st_size, "pairs": head.card.pairs, **head.card.scores}


def _recorded(texts: Path, output: Path, target: Path, draft: Path, size: tuple[int, int, int], data: str) -> Pairs:
    """In parts, so that a stopped run loses little."""
    from holefill.model.loading import load_engine, load_tokenizer
    from holefill.model.spec.pairing import same_vocabulary
    from holefill.model.training.acceptance import PART, Pairs, record
    from holefill.model.transformer import Transformer

    count, tokens, seed = size
    count = count if texts.name == TRAINING else max(1, int(SHARE_HELD_OUT * count))
    key = hashlib.sha256(f"{texts.name} {target.name} {draft.name} {tokens} {seed} {data}".encode()).hexdigest()[:12]
    parts = [output.with_suffix(f".pairs-{key}-{at}.npz") for at in range(-(-count // PART))]
    missing = [at for at, path in enumerate(parts) if not path.exists()]
    if missing:
        tokenizer = load_tokenizer(target)
        same_vocabulary(tokenizer, load_tokenizer(draft))
        engine, small = load_engine(target), Transformer.load(draft)
        prompts = _prompts(texts, tokenizer, count, seed)
        output.parent.mkdir(parents=True, exist_ok=True)
        for at in missing:
            found = list(record(engine, small, prompts[at * PART : (at + 1) * PART], tokens))
            Pairs.joined(found).save(parts[at])
            click.echo(f"{texts.name}: {min(count, (at + 1) * PART)} of {count} prompts", err=True)
    return Pairs.joined([Pairs.load(path) for path in parts])


def _prompts(path: Path, tokenizer: Tokenizer, count: int, seed: int) -> list[tuple[int, ...]]:
    """Of texts in random order: what stands before the middle, where that is short enough."""
    from holefill.model.training.examples import Layout, encode, read_texts

    texts = list(read_texts(path))
    random.Random(seed).shuffle(texts)
    layout = Layout.of(tokenizer)
    examples = (encode(text, tokenizer, layout) for text in texts)
    prompts = (example.ids[: example.start] for example in examples if example.start <= MAX_PROMPT)
    found = list(islice(prompts, count))
    if not found:
        raise DataError(f"{path} has no example short enough: build the folder with `holefill train data`")
    return found
