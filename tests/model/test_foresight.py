"""Answers under a judge's prompt, and what follows the hole read on behind them: the same figures as plain forwards."""

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
ABOVE, BELOW = b"import math\n\n", b"print(total([2]))\n" * 4


@pytest.fixture
def engine(tiny_transformer: Transformer, byte_tokenizer: Tokenizer) -> Engine[KVCache]:
    return Engine(tiny_transformer, byte_tokenizer, EngineOptions(max_context=256, vocab_size=260))


def _asked(tokenizer: Tokenizer, typed: str = "") -> GenerateRequest:
    fim = tokenizer.fim_ids()
    assert fim is not None
    prompt = (fim[0], *BEFORE, fim[1], *AFTER, fim[2])
    wider = (fim[0], *ABOVE, *BEFORE, fim[1], *AFTER, *BELOW, fim[2])
    return GenerateRequest(prompt, max_tokens=8, alternatives=4, judging_ids=wider, typed=typed)


def _candidates(engine: Engine[KVCache], request: GenerateRequest) -> tuple[Candidate, ...]:
    *_, last = engine.generate(request, CancelToken())
    return last.candidates


@pytest.mark.parametrize("typed", ["", "it"])
def test_it_is_the_probability_of_the_answer_in_the_wider_prompt_and_of_the_plain_text_behind_it(
    engine: Engine[KVCache], tiny_transformer: Transformer, byte_tokenizer: Tokenizer, typed: str
) -> None:
    fim = byte_tokenizer.fim_ids()
    assert fim is not None
    found = _candidates(engine, _asked(byte_tokenizer, typed))
    assert len(found) > 1
    for candidate in found:
        text = (typed + candidate.text).encode()
        filled = _law(tiny_transformer, [fim[0], *ABOVE, *BEFORE, fim[1], *AFTER, *BELOW, fim[2], *text])
        read = _law(tiny_transformer, [fim[0], *ABOVE, *BEFORE, *text, *(AFTER + BELOW)[:64]])
        answer = sum(float(filled[i - len(text) - 1, byte]) for i, byte in enumerate(text))
        end = float(filled[-1, sorted(byte_tokenizer.stop_ids)].logsumexp(-1))
        behind = sum(float(read[i - 65, byte]) for i, byte in enumerate((AFTER + BELOW)[:64]))
        assert candidate.judged_logprob == pytest.approx(answer + end + behind, abs=1e-2)


def _law(transformer: Transformer, ids: list[int]) -> torch.Tensor:
    """log p of what follows each of ``ids``, (n, vocab)."""
    return transformer.forward(torch.tensor(ids), transformer.new_cache(len(ids)), logit_rows=slice(None)).log_softmax(
        -1
    )


def test_answers_are_the_same_with_it_and_without(engine: Engine[KVCache], byte_tokenizer: Tokenizer) -> None:
    asked = _asked(byte_tokenizer)
    without = _candidates(engine, replace(asked, judging_ids=()))
    assert all(candidate.judged_logprob is None for candidate in without)
    assert [c.token_ids for c in _candidates(engine, asked)] == [c.token_ids for c in without]


def test_a_prompt_without_a_suffix_has_none(engine: Engine[KVCache], byte_tokenizer: Tokenizer) -> None:
    fim = byte_tokenizer.fim_ids()
    assert fim is not None
    for prompt in (tuple(BEFORE), (fim[0], *BEFORE, fim[1], fim[2])):
        request = replace(_asked(byte_tokenizer), judging_ids=prompt)
        assert next(c.judged_logprob for c in _candidates(engine, request)) is None


def test_a_prompt_that_leaves_no_room_is_not_read(tiny_transformer: Transformer, byte_tokenizer: Tokenizer) -> None:
    asked = _asked(byte_tokenizer)
    narrow = Engine(tiny_transformer, byte_tokenizer, EngineOptions(max_context=len(asked.judging_ids), vocab_size=260))
    found = _candidates(narrow, asked)
    assert len(found) > 1
    assert all(candidate.judged_logprob is None for candidate in found)


def test_it_travels() -> None:
    chunk = Chunk("a", (1,), (-0.5,), candidates=(Candidate("a", -0.5, (1,), -7.5), Candidate("b", -1.5, (2, 3))))
    assert load_chunk(dump_chunk(chunk, "m", "id", 0, None)) == chunk
    body = json.dumps(dump_request(GenerateRequest((1,), judging_ids=(2, 3)), "m", own=True))
    assert parse_body(body.encode()).request((1,)).judging_ids == (2, 3)
