"""A small model drafts for another: losslessly, from what it has read, and only while a guess is worth its forward."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config

from holefill.model.cancel import CancelToken, Interrupt, Interrupted
from holefill.model.engine import Engine, EngineOptions
from holefill.model.kv.cache import KVCache
from holefill.model.request import FinishReason, GenerateRequest, Sampling
from holefill.model.spec.acceptance import FEATURES, AcceptanceHead, HeadCard, shapes
from holefill.model.spec.buffer import BufferIndex
from holefill.model.spec.cost import CostCurve
from holefill.model.spec.drafters.draft_model import DraftForward, DraftModelDrafter
from holefill.model.spec.drafters.drafter import DraftContext, Scope
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer
from tests.model.conftest import random_network

FIM = (257, 259, 258)
CHEAP = CostCurve((1, 2, 32), (1.0, 1.01, 1.3))
OPTIONS = EngineOptions(prefill_chunk=16, max_context=256, vocab_size=260)


def _model(folder: Path, layers: int, seed: int) -> Transformer:
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        tie_word_embeddings=True,
    )
    random_network(config).save_pretrained(folder)
    return Transformer.load(folder, device="cpu", weights="fp32")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Transformer, Transformer]:
    """Two random models of one vocabulary."""
    folder = tmp_path_factory.mktemp("models")
    return _model(folder / "large", 2, 1), _model(folder / "small", 1, 2)


def drafter(
    model: DraftForward,
    head: AcceptanceHead | None = None,
    step_ms: float = 0.001,
    catch_up: int = 64,
    threshold: float | None = None,
    stop_ids: frozenset[int] = frozenset(),
) -> DraftModelDrafter:
    ticks = itertools.count()
    return DraftModelDrafter(
        model,
        step_ms=step_ms,
        max_context=256,
        vocabulary=260,
        head=head,
        stop_ids=stop_ids,
        catch_up=catch_up,
        threshold=threshold,
        clock=lambda: next(ticks) / 1e6,
    )


def speculator(
    draft: DraftModelDrafter | None, drafters: tuple[str, ...] = (), fixed_nodes: int | None = None
) -> TreeSpeculator:
    ticks = itertools.count()
    return TreeSpeculator(
        260,
        cost=CHEAP,
        drafters=drafters,
        fim_ids=FIM,
        fixed_nodes=fixed_nodes,
        draft_model=draft,
        clock=lambda: next(ticks) / 1000,
    )


def answer(engine: Engine[KVCache], request: GenerateRequest) -> tuple[int, ...]:
    return tuple(id_ for chunk in engine.generate(request, CancelToken()) for id_ in chunk.token_ids)


def requests(count: int) -> list[GenerateRequest]:
    """Prompts of one edited document, some longer than the draft model reads in one round; some are sampled."""
    rng = random.Random(5)
    document = [rng.randrange(32, 120) for _ in range(130)]
    found = []
    for index in range(count):
        document[rng.randrange(130)] = rng.randrange(32, 120)
        cut = rng.randrange(10, 120)
        ids = document[:cut] if index % 2 else [257, *document[:cut], 259, *document[cut:], 258]
        sampling = Sampling(temperature=0.8, seed=index) if index % 3 == 0 else Sampling()
        found.append(GenerateRequest(tuple(ids), max_tokens=10, sampling=sampling))
    return found


@pytest.mark.parametrize("drafters", [(), ("automaton", "recycling")])
def test_answers_are_those_of_plain_decoding(
    pair: tuple[Transformer, Transformer], byte_tokenizer: Tokenizer, drafters: tuple[str, ...]
) -> None:
    target, small = pair
    plain = Engine(target, byte_tokenizer, OPTIONS)
    drafting = speculator(drafter(small), drafters)
    engine = Engine(target, byte_tokenizer, OPTIONS, drafting)
    for index, request in enumerate(requests(40)):
        if index % 5 == 0:
            engine.warm(request.prompt_ids)
        assert answer(engine, request) == answer(plain, request)
    assert drafting.tally.drafted > 0


def test_a_model_that_drafts_for_itself_is_right(
    pair: tuple[Transformer, Transformer], byte_tokenizer: Tokenizer
) -> None:
    """Its rows are kept across rounds and requests: one that belongs to other text would make it guess wrong."""
    target, _ = pair
    drafting = speculator(drafter(target), fixed_nodes=16)
    engine = Engine(target, byte_tokenizer, OPTIONS, drafting)
    greedy = [request for request in requests(30) if request.sampling.temperature == 0]
    for request in greedy:
        engine.warm(request.prompt_ids)
        answer(engine, request)
    assert drafting.tally.rounds == len(greedy)


class Counted:
    """A draft model whose guess is the last id + 1, and that counts the rows it reads."""

    def __init__(self) -> None:
        self.forwards: list[int] = []
        self.after_forward: Callable[[], object] = lambda: None

    def new_cache(self, capacity: int) -> Counted.Cache:
        return Counted.Cache()

    class Cache:
        length = 0

        def truncate(self, length: int) -> None:
            assert length <= self.length
            self.length = length

    def forward(
        self, ids: torch.Tensor, cache: Cache, *, logit_rows: torch.Tensor, interrupt: Interrupt | None = None
    ) -> torch.Tensor:
        if interrupt is not None and interrupt.is_set():
            raise Interrupted
        self.forwards.append(len(ids))
        cache.length += len(ids)
        logits = torch.zeros(len(logit_rows), 260)
        for row, at in enumerate(logit_rows.tolist()):
            logits[row, (int(ids[at]) + 1) % 260] = 8.0
        self.after_forward()
        return logits


def context(ids: list[int], token_ms: float = math.inf, covered: float = 0.0) -> DraftContext:
    return DraftContext(ids, ids[-1], BufferIndex(), ids=ids, token_ms=token_ms, covered=covered)


def test_a_long_prompt_is_read_over_rounds_and_only_once() -> None:
    model = Counted()
    made = drafter(model, catch_up=64)
    ids = [7] * 200
    assert made.propose(context(ids), 8, 3) == []
    assert model.forwards == [32, 32]
    made.follow(ids)
    assert model.forwards == [32] * 4
    [tree] = made.propose(context(ids), 8, 3)
    assert model.forwards == [32] * 6 + [8, 1, 1]
    assert tree.token[1] == 8
    made.propose(context([*ids, 8, 9]), 8, 1)  # its own guesses, which were right, are there
    assert model.forwards[-1] == 1
    made.propose(context([*ids, 8, 3]), 8, 1)
    assert model.forwards[-1] == 1
    made.reset(Scope.EVERYTHING)
    made.propose(context(ids[:20]), 8, 1)
    assert model.forwards[-1] == 20


def test_it_goes_on_while_the_next_guess_is_worth_its_step() -> None:
    depths = []
    for step_ms in (0.1, 5.0, 9.0, 20.0):
        made = drafter(Counted(), step_ms=step_ms)
        trees = made.propose(context([7, 8], token_ms=10.0), 16, 10)
        depths.append(max(trees[0].depth) if trees else 0)
    assert depths[0] == 10
    assert depths == sorted(depths, reverse=True)
    assert depths[-1] == 0  # a step dearer than the token it could save


def test_where_others_cover_the_next_token_it_is_not_asked() -> None:
    model = Counted()
    made = drafter(model, step_ms=2.0)
    assert made.propose(context([7, 8], token_ms=10.0, covered=0.9), 8, 5) == []
    assert model.forwards == []
    assert made.propose(context([7, 8], token_ms=10.0, covered=0.1), 8, 5)


def test_the_threshold_of_the_paper_in_place_of_costs() -> None:
    made = drafter(Counted(), step_ms=100.0, threshold=0.3)
    [tree] = made.propose(context([7, 8], token_ms=1.0), 16, 10)
    product = list(
        itertools.accumulate((p for p, rank in zip(tree.p_accept[1:], tree.depth[1:], strict=True)), float.__mul__)
    )
    assert max(tree.depth) == next(n for n, value in enumerate(product, 1) if 1 - value > 0.3)


def test_nothing_past_the_end_or_the_models_context() -> None:
    made = drafter(Counted(), stop_ids=frozenset({10}))
    [tree] = made.propose(context([7, 8]), 16, 10)
    assert tree.token[-1] == 10
    assert made.propose(context([7] * 250), 8, 10) == []


def test_the_head_replaces_the_models_own_confidence() -> None:
    tensors = {name: torch.zeros(shape).numpy() for name, shape in shapes(4).items()}
    tensors["scale"] += 1.0
    tensors["out.bias"] -= math.log(6.0)  # the weight of rejections, taken back: even odds
    head = AcceptanceHead(HeadCard("", ""), tensors)
    assert len(tensors["mean"]) == FEATURES
    [tree] = drafter(Counted(), head).propose(context([7, 8]), 4, 3)
    assert tree.p_accept[1] == pytest.approx(0.5)


@pytest.mark.parametrize("at", [1, 3, 5])
def test_an_interrupt_ends_it_between_two_forwards_and_costs_nothing_later(at: int) -> None:
    """Among the chunks of a prompt as among its guesses."""
    model, interrupt, ids = Counted(), Interrupt(), [7] * 80
    model.after_forward = lambda: interrupt.set() if len(model.forwards) == at else None
    made, asked = drafter(model), context(ids)
    asked.interrupt = interrupt
    with pytest.raises(Interrupted):
        made.propose(asked, 8, 6)
    assert len(model.forwards) == at
    interrupt.clear()
    assert made.propose(asked, 8, 6) == drafter(Counted()).propose(context(ids), 8, 6)


def test_an_interrupt_ends_what_it_reads_in_idle_time() -> None:
    model, interrupt = Counted(), Interrupt()
    model.after_forward = interrupt.set
    made = drafter(model, catch_up=200)
    with pytest.raises(Interrupted):
        made.follow([7] * 200, interrupt)
    assert model.forwards == [32]


class Drafting:
    """The draft model, in whose forward number ``at`` the user gives up."""

    def __init__(self, model: Transformer, cancel: CancelToken, at: int) -> None:
        self._model, self._cancel, self._at = model, cancel, at
        self.new_cache = model.new_cache
        self.forwards = 0

    def forward(
        self, ids: torch.Tensor, cache: KVCache, *, logit_rows: torch.Tensor, interrupt: Interrupt | None = None
    ) -> torch.Tensor:
        logits = self._model.forward(ids, cache, logit_rows=logit_rows, interrupt=interrupt)
        self.forwards += 1
        if self.forwards == self._at:
            self._cancel.cancel()
        return logits


def test_a_cancelled_request_ends_between_two_guesses(
    pair: tuple[Transformer, Transformer], byte_tokenizer: Tokenizer
) -> None:
    target, small = pair
    cancel, request = CancelToken(), GenerateRequest(tuple(range(32, 72)), max_tokens=10)
    model = Drafting(small, cancel, at=3)
    engine = Engine(target, byte_tokenizer, OPTIONS, speculator(drafter(model), fixed_nodes=16))
    chunks = list(engine.generate(request, cancel))
    assert chunks[-1].finish is FinishReason.CANCELLED
    assert model.forwards == 3
    assert answer(engine, request) == answer(Engine(target, byte_tokenizer, OPTIONS), request)


def test_a_prompt_read_ahead_keeps_the_targets_rows_where_the_draft_model_was_ended(
    pair: tuple[Transformer, Transformer], byte_tokenizer: Tokenizer
) -> None:
    target, small = pair
    cancel, prompt = CancelToken(), tuple(32 + i % 90 for i in range(100))
    model = Drafting(small, cancel, at=1)
    options = replace(OPTIONS, prefill_chunk=80, first_chunk=80)
    engine = Engine(target, byte_tokenizer, options, speculator(drafter(model)))
    engine.warm(prompt, cancel)
    assert model.forwards == 1
    assert engine.warm(prompt).cached_tokens == 80
