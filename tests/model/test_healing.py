"""Token healing: the answer begins with what is typed, and its text is what follows."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holefill.model.cancel import CancelToken
from holefill.model.engine import Engine, EngineOptions
from holefill.model.healing import Spellings
from holefill.model.request import Backend, GenerateRequest, Shape, StopSpec
from holefill.model.spec.cost import CostCurve
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer
from tests.model.conftest import MakeScripted

LETTERS = st.text("abc", max_size=4).map(str.encode)


@given(st.lists(LETTERS, max_size=30), LETTERS.filter(bool))
def test_agreeing_equals_looking_at_every_token(spellings: list[bytes], typed: bytes) -> None:
    expected = [id_ for id_, s in enumerate(spellings) if s and (s.startswith(typed) or typed.startswith(s))]
    assert sorted(Spellings(spellings).agreeing(typed)) == expected


def text_of(engine: Backend, request: GenerateRequest) -> str:
    return "".join(chunk.text for chunk in engine.generate(request, CancelToken()))


@pytest.mark.parametrize("drafting", [False, True])
def test_typed_characters_and_a_longer_prompt_say_the_same(
    tiny_transformer: Transformer, byte_tokenizer: Tokenizer, drafting: bool
) -> None:
    """With one token per byte there is nothing to heal: both ways condition on the same tokens."""
    vocabulary = tiny_transformer.config.vocab_size
    speculator = TreeSpeculator(vocabulary, cost=CostCurve.flat()) if drafting else None
    engine = Engine(tiny_transformer, byte_tokenizer, EngineOptions(max_context=256, vocab_size=vocabulary), speculator)
    rng = random.Random(3)
    for _ in range(10):
        prompt = tuple(rng.randrange(32, 120) for _ in range(20))
        typed = bytes(rng.randrange(97, 122) for _ in range(rng.randrange(1, 5)))
        healed = GenerateRequest(prompt, max_tokens=8 + len(typed), typed=typed.decode())
        assert text_of(engine, healed) == text_of(engine, GenerateRequest((*prompt, *typed), max_tokens=8))


def test_keys_of_one_word_prefill_nothing(byte_tokenizer: Tokenizer, scripted: MakeScripted) -> None:
    engine = Engine(scripted(20, "return x"), byte_tokenizer, EngineOptions(max_context=256))
    prompt = tuple(range(20))
    for typed in ("r", "re", "ret"):
        chunks = list(engine.generate(GenerateRequest(prompt, typed=typed), CancelToken()))
        assert "".join(chunk.text for chunk in chunks) == "return x"[len(typed) :]
        timing = chunks[-1].timing
        assert timing is not None
        assert typed == "r" or timing.cached_tokens == 19


@pytest.mark.model
def test_the_real_model_finishes_the_word(default_model_path: Path) -> None:
    from holefill.model.loading import load_engine

    engine = load_engine(default_model_path)
    fim = engine.tokenizer.fim_ids()
    assert fim is not None
    before = "def area(width, height):\n    return"
    after = engine.tokenizer.encode("\n")
    prompt = (fim[0], *engine.tokenizer.encode(before), fim[1], *after, fim[2])
    request = GenerateRequest(prompt, max_tokens=12, stop=StopSpec(Shape.LINE), typed=" wid")
    assert text_of(engine, request).startswith("th")
