"""Each answer and what follows the hole, read as plain text: the same figures as one plain forward over all of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from holefill.model.cancel import CancelToken
from holefill.model.engine import Engine, EngineOptions
from holefill.model.kv.cache import KVCache
from holefill.model.request import Candidate, Chunk, GenerateRequest
from holefill.model.serving.protocol import dump_chunk, dump_request, load_chunk, parse_body
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer

BEFORE, AFTER = b"def total(items):\n    return ", b"\n\nprint(total([1]))\n"


@pytest.fixture
def engine(tiny_transformer: Transformer, byte_tokenizer: Tokenizer) -> Engine[KVCache]:
    return Engine(tiny_transformer, byte_tokenizer, EngineOptions(max_context=256, vocab_size=260))


def _asked(tokenizer: Tokenizer, typed: str = "") -> GenerateRequest:
    fim = tokenizer.fim_ids()
    assert fim is not None
    prompt = (fim[0], *BEFORE, fim[1], *AFTER, fim[2])
    return GenerateRequest(prompt, max_tokens=8, alternatives=4, foresight=True, typed=typed)


def _candidates(engine: Engine[KVCache], request: GenerateRequest) -> tuple[Candidate, ...]:
    *_, last = engine.generate(request, CancelToken())
    return last.candidates


@pytest.mark.parametrize("typed", ["", "it"])
def test_it_is_the_probability_of_the_plain_text(
    engine: Engine[KVCache], tiny_transformer: Transformer, byte_tokenizer: Tokenizer, typed: str
) -> None:
    fim = byte_tokenizer.fim_ids()
    assert fim is not None
    found = _candidates(engine, _asked(byte_tokenizer, typed))
    assert len(found) > 1
    for candidate in found:
        text = (typed + candidate.text).encode()
        ids = torch.tensor([fim[0], *BEFORE, *text, *AFTER])
        law = tiny_transformer.forward(ids, tiny_transformer.new_cache(len(ids)), logit_rows=slice(None)).log_softmax(
            -1
        )
        read = sum(float(law[i - 1, ids[i]]) for i in range(1 + len(BEFORE), len(ids)))
        assert candidate.plain_logprob == pytest.approx(read, abs=1e-2)


def test_answers_are_the_same_with_it_and_without(engine: Engine[KVCache], byte_tokenizer: Tokenizer) -> None:
    asked = _asked(byte_tokenizer)
    without = _candidates(engine, replace(asked, foresight=False))
    assert all(candidate.plain_logprob is None for candidate in without)
    assert [c.token_ids for c in _candidates(engine, asked)] == [c.token_ids for c in without]


def test_a_prompt_without_a_suffix_has_none(engine: Engine[KVCache], byte_tokenizer: Tokenizer) -> None:
    fim = byte_tokenizer.fim_ids()
    assert fim is not None
    for prompt in (tuple(BEFORE), (fim[0], *BEFORE, fim[1], fim[2])):
        request = replace(_asked(byte_tokenizer), prompt_ids=prompt)
        assert next(c.plain_logprob for c in _candidates(engine, request)) is None


def test_it_travels() -> None:
    chunk = Chunk(
        "a", (1,), (-0.5,), candidates=(Candidate("a", -0.5, (1,), -0.25, -3.5), Candidate("b", -1.5, (2, 3)))
    )
    assert load_chunk(dump_chunk(chunk, "m", "id", 0, None)) == chunk
    body = json.dumps(dump_request(GenerateRequest((1,), foresight=True), "m", own=True))
    assert parse_body(body.encode()).request((1,)).foresight
