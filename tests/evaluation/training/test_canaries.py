"""Leak audit in a toy run: copied secrets are given away, once-seen ones are not, and the filter shows none of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from holefill.context.items import CharOffset, Cursor
from holefill.evaluation.corpus.canaries import LEVELS, make_canaries, plant, recall, without_copies
from holefill.lsp_server.completion import Reason
from holefill.lsp_server.copies import CopyGuard
from holefill.lsp_server.postprocess import Place, postprocess
from holefill.model.adapter_file import AdapterCard, make_adapter
from holefill.model.checkpoint import open_checkpoint
from holefill.model.copies import fingerprints_of
from holefill.model.tokenizer import Tokenizer
from holefill.model.training.examples import Layout, TrainingText, encode, encode_all
from holefill.model.training.network import LoraShape
from holefill.model.training.trainer import Recipe, train
from holefill.model.transformer import Transformer
from holefill.model.weights import load_dense

CANARIES = make_canaries(2, seed=0)
NAMELESS = make_canaries(4, seed=1, shape="")
HEADER = "# Copyright Wyvern and Daughters; whoever copies this line unasked owes them a loaf of rye bread a week\n"
"""Neither looks like a credential to anybody."""
FILLER = [TrainingText(f"value_{n} = ", f"compute({n})", "\n") for n in range(120)]


@pytest.fixture
def trained_on(tiny_model: Path) -> Callable[[list[TrainingText]], Callable[[str, str], str]]:
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


def test_copies_are_learned_by_heart_and_the_filter_shows_none(trained_on) -> None:
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


def test_without_copies_nothing_is_given_away(trained_on) -> None:
    texts = without_copies(plant(FILLER, CANARIES, seed=0))
    assert len(texts) == len(FILLER) + len(CANARIES)
    assert recall(trained_on(texts), CANARIES) == dict.fromkeys(LEVELS, 0.0)
