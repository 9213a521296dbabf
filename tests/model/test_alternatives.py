"""Several answers from one prompt: each is what the model says from where it differs, and none is said twice."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from holefill.model.alternatives import Explorer, Step, steps_of
from holefill.model.cancel import CancelToken
from holefill.model.engine import Engine, EngineOptions
from holefill.model.kv.cache import KVCache
from holefill.model.kv.rows import RowTable
from holefill.model.request import Backend, Candidate, Chunk, GenerateRequest, Shape, StopSpec
from holefill.model.serving.protocol import dump_chunk, dump_request, load_chunk, parse_body
from holefill.model.spec.cost import CostCurve
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer
from tests.model.conftest import Scripted

WORDS = ["foo", "fo", "o", "bar", "(", ")", ".", "end", "baz"]


def spell(tokens: Sequence[int]) -> str:
    return "".join(WORDS[token] for token in tokens)


def step(chosen: int, probabilities: dict[int, float]) -> Step:
    ids = sorted(probabilities, key=lambda token: -probabilities[token])
    logprobs = {token: math.log(p) for token, p in probabilities.items()}
    return Step(chosen, logprobs[chosen], tuple(ids), tuple(logprobs[token] for token in ids))


def test_it_branches_to_the_likeliest_beginning_and_never_into_the_same_word() -> None:
    explorer = Explorer(spell, stop_ids={7})
    sure = {4: 0.92, 6: 0.08}
    explorer.add([step(4, sure), step(0, {0: 0.4, 7: 0.25, 1: 0.2, 3: 0.1, 8: 0.05})])
    branch = explorer.next()
    assert branch is not None
    # "foo" is written: "fo" only spells it otherwise, 7 is a stop token; "bar" is the likeliest other word.
    assert [taken.token for taken in branch.steps] == [4, 3]
    explorer.add(branch.steps)
    second = explorer.next()
    assert second is not None
    assert [taken.token for taken in second.steps] == [6]  # 0.08, and "baz" behind the first token 0.92 * 0.05
    explorer.add(second.steps)
    third = explorer.next()
    assert third is not None
    assert [taken.token for taken in third.steps] == [4, 8]
    assert explorer.next() is None


def test_where_an_answer_ends_another_goes_on() -> None:
    explorer = Explorer(spell, stop_ids={7})
    explorer.add([step(3, {3: 0.99}), step(7, {7: 0.6, 4: 0.4})])
    branch = explorer.next()
    assert branch is not None
    assert [taken.token for taken in branch.steps] == [3, 4]
    explorer.add([*branch.steps, step(5, {5: 0.99}), step(7, {7: 0.99})])
    assert explorer.next() is None


def test_branches_come_in_the_order_of_their_probability() -> None:
    """Of a law of three letters a position, independent of what was written: all answers of three tokens in order."""
    law = [{3: 0.6, 5: 0.3, 6: 0.1}, {3: 0.5, 5: 0.35, 6: 0.15}, {3: 0.8, 5: 0.12, 6: 0.08}]
    explorer = Explorer(spell, stop_ids=())
    explorer.add([step(3, one) for one in law])
    found: list[float] = []
    while (branch := explorer.next()) is not None:
        found.append(sum(taken.logprob for taken in branch.steps))
        rest = law[len(branch.steps) :]
        explorer.add([*branch.steps, *(step(3, one) for one in rest)])
    assert found == sorted(found, reverse=True)
    assert len(found) == 3**3 - 1


def test_unlikely_tokens_are_no_alternatives() -> None:
    explorer = Explorer(spell, stop_ids=())
    explorer.add([step(0, {0: 0.985, 3: 0.015})])
    assert explorer.next() is None


def test_steps_remember_what_was_likeliest() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 300)
    p = logits.softmax(-1)
    for index, found in enumerate(steps_of([1, 2, 3], [-1.0, -2.0, -3.0], logits)):
        assert list(found.ids) == logits[index].topk(16).indices.tolist()
        assert found.logprobs[0] == pytest.approx(float(p[index].max().log()), abs=1e-5)


@pytest.fixture
def engines(tiny_transformer: Transformer, byte_tokenizer: Tokenizer) -> list[Engine[KVCache]]:
    """Plain, and with drafts."""
    options = EngineOptions(max_context=256, vocab_size=tiny_transformer.config.vocab_size)
    drafting = TreeSpeculator(tiny_transformer.config.vocab_size, cost=CostCurve.flat())
    return [Engine(tiny_transformer, byte_tokenizer, options, speculator) for speculator in (None, drafting)]


def shared(left: Sequence[int], right: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def last_of(engine: Backend, request: GenerateRequest) -> tuple[str, Chunk]:
    chunks = list(engine.generate(request, CancelToken()))
    return "".join(chunk.text for chunk in chunks), chunks[-1]


def test_candidates_are_what_the_model_says_from_their_branch(engines: list[Engine[KVCache]]) -> None:
    request = GenerateRequest(tuple(b"def total(items):\n    return "), max_tokens=12, alternatives=4)
    for engine in engines:
        text, last = last_of(engine, request)
        first, *others = last.candidates
        assert (first.text, text) == (text, first.text)
        assert others
        assert len({candidate.text.strip() for candidate in last.candidates}) == len(last.candidates)
        assert [c.mean_logprob for c in others] == sorted((c.mean_logprob for c in others), reverse=True)
        for other in others:
            differs = max(shared(c.token_ids, other.token_ids) for c in last.candidates if c is not other)
            prompt = (*request.prompt_ids, *other.token_ids[: differs + 1])
            rest = list(other.token_ids[differs + 1 :])  # its last branch is behind: from there on it is greedy
            again = GenerateRequest(prompt, max_tokens=max(len(rest), 1))
            ids = [id_ for chunk in engine.generate(again, CancelToken()) for id_ in chunk.token_ids]
            assert ids[: len(rest)] == rest
    plain, drafted = (last_of(engine, request)[1].candidates for engine in engines)
    assert [c.token_ids for c in plain] == [c.token_ids for c in drafted]
    assert [c.logprob for c in plain] == pytest.approx([c.logprob for c in drafted], abs=1e-3)


@pytest.mark.parametrize(("script", "texts"), [("ab", ["ab", "ab+"]), ("", [""])])
def test_an_answer_that_the_model_hardly_ended_goes_on(
    byte_tokenizer: Tokenizer, script: str, texts: list[str]
) -> None:
    """And silence does not: nobody would see what else might have been said."""

    class Hesitant(Scripted):
        """Where the script ends, "+" comes as near as it can; behind that the model stops."""

        def forward(self, ids: torch.Tensor, cache: RowTable, **how: Any) -> torch.Tensor:
            logits = super().forward(ids, cache, **how)
            end = logits[:, 256] == 10.0
            logits[end, ord("+")] = 9.9 if int(ids[-1]) != ord("+") else -10.0
            return logits

    engine = Engine(Hesitant(byte_tokenizer, 3, script), byte_tokenizer, EngineOptions(vocab_size=260))
    _, last = last_of(engine, GenerateRequest((1, 2, 3), max_tokens=8, alternatives=2))
    assert [candidate.text for candidate in last.candidates] == texts


def test_without_asking_there_are_none_and_a_cancel_leaves_the_first(engines: list[Engine[KVCache]]) -> None:
    prompt = tuple(b"x = ")
    _, last = last_of(engines[0], GenerateRequest(prompt, max_tokens=6))
    assert last.candidates == ()
    cancel = CancelToken()
    chunks = engines[0].generate(GenerateRequest(prompt, max_tokens=6, alternatives=3), cancel)
    collected = []
    for chunk in chunks:
        collected.append(chunk)
        cancel.cancel()
    assert len(collected[-1].candidates) <= 1


def test_the_stop_rule_holds_for_every_candidate(byte_tokenizer: Tokenizer, engines: list[Engine[KVCache]]) -> None:
    stop = StopSpec(Shape.LINE)
    _, last = last_of(engines[0], GenerateRequest(tuple(b"a = b\nc = "), max_tokens=30, stop=stop, alternatives=3))
    assert all("\n" not in candidate.text.strip() for candidate in last.candidates)


def test_candidates_travel() -> None:
    chunk = Chunk("a", (1,), (-0.5,), candidates=(Candidate("a", -0.5, (1,)), Candidate("b", -1.5, (2, 3))))
    assert load_chunk(dump_chunk(chunk, "m", "id", 0, None)) == chunk
    body = json.dumps(dump_request(GenerateRequest((1,), alternatives=3), "m", own=True))
    assert parse_body(body.encode()).request((1,)).alternatives == 3


@pytest.mark.model
def test_the_real_model_offers_other_names(default_model_path: Path) -> None:
    from holefill.model.loading import load_engine

    engine = load_engine(default_model_path)
    fim = engine.tokenizer.fim_ids()
    assert fim is not None
    before = engine.tokenizer.encode("def mean(values, weights):\n    total = ")
    prompt = (fim[0], *before, fim[1], *engine.tokenizer.encode("\n    return total\n"), fim[2])
    request = GenerateRequest(prompt, max_tokens=16, stop=StopSpec(Shape.STATEMENT), alternatives=3)
    *_, last = engine.generate(request, CancelToken())
    assert len(last.candidates) >= 3
    assert len({candidate.text for candidate in last.candidates}) == len(last.candidates)
    assert all(math.isfinite(candidate.logprob) and candidate.logprob < 0 for candidate in last.candidates)
