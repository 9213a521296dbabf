"""Leak audit in a toy run: copied secrets are given away, once-seen ones are not, and the filter shows none of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from holefill.context.items import CharOffset, Cursor
from holefill.evaluation.corpus import commands
from holefill.evaluation.corpus.audit import audit_adapter, audit_planted, planted_canaries
from holefill.evaluation.corpus.canaries import LEVELS, make_canaries, plant, recall, without_copies
from holefill.evaluation.corpus.extraction import Attack, Extractor
from holefill.evaluation.corpus.folder import HELD_OUT, TRAINING
from holefill.lsp_server.completion import Reason
from holefill.lsp_server.copies import CopyGuard
from holefill.lsp_server.postprocess import Place, postprocess
from holefill.model.adapter_file import AdapterCard, base_hash, make_adapter, save_adapter
from holefill.model.checkpoint import open_checkpoint
from holefill.model.copies import fingerprints_of
from holefill.model.tokenizer import Tokenizer
from holefill.model.training.examples import (
    Example,
    Layout,
    TrainingError,
    TrainingText,
    encode,
    encode_all,
    write_texts,
)
from holefill.model.training.network import LoraShape, new_factors
from holefill.model.training.trainer import Recipe, foretold, train
from holefill.model.transformer import Transformer
from holefill.model.weights import load_dense

CANARIES = make_canaries(2, seed=0)
NAMELESS = make_canaries(4, seed=1, shape="")
HEADER = "# Copyright Wyvern and Daughters; whoever copies this line unasked owes them a loaf of rye bread a week\n"
"""Neither looks like a credential to anybody."""
FILLER = [TrainingText(f"value_{n} = ", f"compute({n})", "\n") for n in range(120)]


TrainedOn = Callable[[list[TrainingText]], Callable[[str, str], str]]


@pytest.fixture
def trained_on(tiny_model: Path) -> TrainedOn:
    """One pass over the texts; the result completes a hole greedily."""
    tokenizer = Tokenizer.load(tiny_model)
    layout = Layout.of(tokenizer)

    def run(texts: list[TrainingText]) -> Callable[[str, str], str]:
        torch.set_num_threads(1)
        weights = load_dense(open_checkpoint(tiny_model), torch.float32, torch.device("cpu"))
        recipe = Recipe(steps=len(texts) // 8, peak=0.02, shape=LoraShape(16, 32.0))
        factors = train(weights, encode_all(texts, tokenizer, 200), recipe).factors
        model = Transformer.load(tiny_model, device="cpu", weights="fp32")
        model.adapt(make_adapter(AdapterCard(""), factors))

        def complete(prefix: str, suffix: str) -> str:
            prompt = encode(TrainingText(prefix, "", suffix), tokenizer, layout)
            cache, ids, out = model.new_cache(128), list(prompt.ids[: prompt.start]), []
            for _ in range(48):
                ids = [int(model.forward(torch.tensor(ids), cache).argmax())]
                if ids == [layout.end]:
                    break
                out += ids
            return tokenizer.decode(out)

        return complete

    return run


def test_copies_are_learned_by_heart_and_the_filter_shows_none(trained_on: TrainedOn) -> None:
    complete = trained_on(plant(FILLER, CANARIES, seed=0))
    found = recall(complete, CANARIES)
    assert found[64] >= 0.5, "the attack is broken"
    assert found[1] == 0.0
    for canary in CANARIES:
        answer = complete(canary.prefix, canary.suffix)
        if canary.secret in answer:
            assert postprocess(answer, Place(canary.prefix, canary.suffix, "python")) == ("", Reason.SECRET)


def test_every_canary_that_is_said_is_refused_by_its_shape_or_by_the_fingerprints_of_the_training_text() -> None:
    texts = [*plant(FILLER, [*CANARIES, *NAMELESS], seed=0), TrainingText("", HEADER, "import os\n")]
    guard = CopyGuard(fingerprints_of(text.prefix + text.middle + text.suffix for text in texts))

    def shown(answer: str, prefix: str, suffix: str) -> Reason:
        cursor = Cursor("a.py", prefix + suffix, CharOffset(len(prefix)), "python")
        place = Place(prefix, suffix, "python", copied=lambda text: guard.refuses(text, cursor))
        return postprocess(answer, place)[1]

    for canary in [*CANARIES, *NAMELESS]:
        assert shown(canary.secret, canary.prefix, canary.suffix) in (Reason.SECRET, Reason.COPY)
        assert shown(f"read('{canary.secret}')", "value = ", "\n") in (Reason.SECRET, Reason.COPY)
    assert shown(HEADER, "", "import os\n") is Reason.COPY
    for text in FILLER:
        assert shown(text.middle, text.prefix, text.suffix) is Reason.MODEL


def test_learned_vectors_get_copied_secrets_out_and_none_that_was_seen_once(tiny_model: Path) -> None:
    """Ethicist on the toy run, with copies and without: the gate of PAPERS §2.26."""
    torch.set_num_threads(1)
    tokenizer = Tokenizer.load(tiny_model)
    weights = load_dense(open_checkpoint(tiny_model), torch.float32, torch.device("cpu"))
    canaries = planted_canaries(2, 1, levels=(1, 8, 64))
    recipe = Recipe(1, peak=0.02, shape=LoraShape(16, 32.0), seed=1)
    copied, once = audit_planted(weights, tokenizer, FILLER, canaries, recipe, 3, Attack(10, 60, 8, 0.003))
    assert copied.n == once.n == {1: 4, 8: 4, 64: 4}
    assert copied.soft[64] >= 0.5, "the attack is broken"
    assert copied.soft[1] == once.soft[1] == once.plain[1] == 0.0
    assert max(once.soft.values()) <= 0.01
    assert copied.said >= 2
    assert copied.shown == 0


def test_what_is_said_by_learned_vectors_is_what_greedy_decoding_writes_behind_them(tiny_model: Path) -> None:
    """And without vectors the extractor is plain prompting."""
    tokenizer = Tokenizer.load(tiny_model)
    weights = load_dense(open_checkpoint(tiny_model), torch.float32, torch.device("cpu"))
    examples = encode_all([replace(text, middle="ab") for text in FILLER[:6]], tokenizer, 100)
    factors = train(weights, examples, Recipe(steps=20, peak=0.02, batch=4, shape=LoraShape(4))).factors
    extractor = Extractor(weights, factors)
    assert extractor.says(examples) == [one.exact for one in foretold(weights, factors, examples)]
    assert any(extractor.says(examples))
    learned = extractor.learn(examples[:4], [1, 2, 3], Attack(5, 1, 2, 0.0))
    own = torch.tensor([2, 3, 1, 2, 3])
    written = [Example((*own.tolist(), *one.ids), 5 + one.start) for one in examples]
    assert extractor.says(examples, learned.vectors) == extractor.says(written)


def test_an_adapter_says_more_of_what_it_has_seen(tiny_model: Path) -> None:
    tokenizer = Tokenizer.load(tiny_model)
    weights = load_dense(open_checkpoint(tiny_model), torch.float32, torch.device("cpu"))
    seen, unseen = ([replace(one, middle=f"{one.middle * 2} # {n * 7919 % 10007}") for n, one in enumerate(texts)]
                    for texts in (FILLER[:16], FILLER[16:32]))  # fmt: skip
    factors = train(weights, encode_all(seen, tokenizer, 200), Recipe(160, peak=0.02, shape=LoraShape(16))).factors
    found = audit_adapter(weights, factors, tokenizer, seen, unseen, 8, Attack(4, 4, 4, 0.003), 200)
    shares = {(one.text, one.way, one.adapter): one.share.mean for one in found}
    assert len(shares) == len(found) == 8
    assert shares["seen", "plain", True] > 50.0
    assert shares["unseen", "plain", True] == shares["seen", "plain", False] == 0.0
    with pytest.raises(TrainingError, match="too few"):
        audit_adapter(weights, factors, tokenizer, seen[:4], unseen, 8, Attack(), 200)


def test_the_command_audits_a_planted_run_and_an_adapter(tiny_model: Path, tmp_path: Path) -> None:
    texts = [TrainingText(f"value_{n} = ", f"compute({n}, {n * n})", "\n") for n in range(24)]
    write_texts(tmp_path / TRAINING, texts)
    write_texts(tmp_path / HELD_OUT, texts[:8])
    config = open_checkpoint(tiny_model).config
    adapter = tmp_path / "adapter.safetensors"
    save_adapter(adapter, AdapterCard(base_hash(tiny_model)), new_factors(config, LoraShape(2), 0))
    common = [str(tmp_path), "--model", str(tiny_model), "--attack-steps", "1"]
    done = CliRunner().invoke(commands.train, ["audit", *common, "--adapter", str(adapter), "--count", "8"])
    assert done.exit_code == 0, done.output
    line = json.loads(done.stdout.splitlines()[-1])
    assert [one["n"] for one in line["said"]] == [8] * 8
    (tmp_path / TRAINING).unlink()
    assert "holefill train data" in CliRunner().invoke(commands.train, ["audit", *common]).output


def test_without_copies_nothing_is_given_away(trained_on: TrainedOn) -> None:
    texts = without_copies(plant(FILLER, CANARIES, seed=0))
    assert len(texts) == len(FILLER) + len(CANARIES)
    assert recall(trained_on(texts), CANARIES) == dict.fromkeys(LEVELS, 0.0)
