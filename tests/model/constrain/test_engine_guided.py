"""The engine under a guide: masked where needed, the same as ever where not, drafts pruned, drafters still taught."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holefill.model.cancel import CancelToken
from holefill.model.constrain.constraint import Constraint
from holefill.model.constrain.guide import Guides
from holefill.model.engine import Engine
from holefill.model.kv.cache import KVCache
from holefill.model.request import GenerateRequest, Sampling
from holefill.model.spec.cost import CostCurve
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer

PREFIX, SUFFIX = "x = f(a, ", ")\ny = [1]\n"


def _text(engine: Engine[KVCache], constraint: Constraint | None, sampling: Sampling, tokens: int = 40) -> str:
    request = GenerateRequest(tuple(PREFIX.encode()), tokens, sampling=sampling, constraint=constraint)
    return "".join(chunk.text for chunk in engine.generate(request, CancelToken()))


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, seed=3)])
def test_a_random_model_writes_only_what_fits(
    tiny_transformer: Transformer, byte_tokenizer: Tokenizer, sampling: Sampling
) -> None:
    guides = Guides(byte_tokenizer, wait=True)
    constraint = Constraint("python", PREFIX, SUFFIX)
    plain = Engine(tiny_transformer, byte_tokenizer)
    guided = Engine(tiny_transformer, byte_tokenizer, constrain=guides.guide)
    drafting = Engine(
        tiny_transformer,
        byte_tokenizer,
        speculator=TreeSpeculator(260, cost=CostCurve.flat()),
        constrain=guides.guide,
    )
    text = _text(guided, constraint, sampling)
    guide = guides.guide(constraint)
    assert guide is not None
    assert guide.first_forbidden(list(text.encode())) is None
    assert guide.first_forbidden(list(_text(plain, None, sampling).encode())) is not None
    assert [_text(drafting, constraint, sampling) for _ in range(2)] == [text, text]
    assert _text(guided, None, sampling) == _text(plain, None, sampling)


def test_a_pruned_round_still_teaches(tiny_transformer: Transformer, byte_tokenizer: Tokenizer) -> None:
    guides = Guides(byte_tokenizer, wait=True)
    speculator = TreeSpeculator(260, cost=CostCurve.flat())
    engine = Engine(tiny_transformer, byte_tokenizer, speculator=speculator, constrain=guides.guide)
    _text(engine, Constraint("python", PREFIX, SUFFIX), Sampling())
    assert speculator.tally.tokens > 30


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, seed=3)])
@pytest.mark.parametrize("drafting", [False, True])
def test_a_half_typed_word_goes_on_under_the_guide(
    tiny_transformer: Transformer, byte_tokenizer: Tokenizer, sampling: Sampling, drafting: bool
) -> None:
    """With one token per byte, the word in the answer and the word in the prompt are the same question."""
    guides = Guides(byte_tokenizer, wait=True)
    speculator = TreeSpeculator(260, cost=CostCurve.flat()) if drafting else None
    engine = Engine(tiny_transformer, byte_tokenizer, speculator=speculator, constrain=guides.guide)
    before, word, names = "x = f(a.", "ap", ("append", "apply", "pop")
    rest = tuple(name[len(word) :] for name in names[:2])
    healed = GenerateRequest(
        tuple(before.encode()),
        20 + len(word),
        sampling=sampling,
        typed=word,
        constraint=Constraint("python", before, SUFFIX, names),
    )
    written = replace(
        healed,
        prompt_ids=tuple((before + word).encode()),
        max_tokens=20,
        typed="",
        constraint=Constraint("python", before + word, SUFFIX, rest),
    )
    texts = ["".join(chunk.text for chunk in engine.generate(one, CancelToken())) for one in (healed, written)]
    assert texts[0].startswith(rest)
    if sampling.temperature == 0:
        assert texts[0] == texts[1]


def test_a_word_that_no_name_begins_with_is_answered_freely(
    tiny_transformer: Transformer, byte_tokenizer: Tokenizer
) -> None:
    guides = Guides(byte_tokenizer, wait=True)
    engine = Engine(tiny_transformer, byte_tokenizer, constrain=guides.guide)
    asked = GenerateRequest(tuple(b"x = a."), 12, typed="zz")
    texts = [
        "".join(chunk.text for chunk in engine.generate(one, CancelToken()))
        for one in (asked, replace(asked, constraint=Constraint("python", "x = a.", "", ("append",))))
    ]
    assert texts[0] == texts[1]
