"""Ending a forward in its midst: pool and tree stay whole, and every later answer is what it would have been.

Where a test needs the midst of a forward, the flag is put where the first layer writes its first new key: so the first
layer itself gives the order, and the second one never begins.
"""

from __future__ import annotations

import ctypes
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from holefill.kernels.native_layers import supports
from holefill.model.answer import Answer
from holefill.model.cancel import CancelToken, Interrupt, Interrupted
from holefill.model.engine import Engine, EngineOptions
from holefill.model.job import Job
from holefill.model.kv.cache import KVCache
from holefill.model.kv.pool import TokenPool
from holefill.model.request import FinishReason, GenerateRequest
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer, WeightFormat
from holefill.model.turns import Turns

HEAD_DIM, LAYERS, ROWS = 32, 3, 400
OPTIONS = EngineOptions(max_context=ROWS, vocab_size=260, cache_mb=1.0)
IDS = torch.arange(60)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small gain nothing from more, and on a busy machine they wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["fp32", "native"])
def transformer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    """Three layers of one torch operation after another, and in one native call."""
    weights: WeightFormat = request.param
    if weights == "native" and not supports(HEAD_DIM):
        pytest.skip("no native layers here: no C++ compiler or no AVX512-VNNI")
    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=260,
        hidden_size=4 * HEAD_DIM,
        intermediate_size=160,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=ROWS,
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    folder = tmp_path_factory.mktemp("model")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return Transformer.load(folder, device="cpu", weights=weights)


def flag_in(cache: KVCache, new: int) -> ctypes.c_int32:
    """Nonzero as soon as the first layer has written the first of ``new`` tokens; their rows are spoilt."""
    cache.reserve(new)
    rows = cache.table(new)[cache.length :].long()
    cache.keys[:, :, rows] = cache.values[:, :, rows] = torch.nan
    cell = cache.keys[0, 0, rows[0]]
    cell[0] = 0.0
    return ctypes.c_int32.from_address(cell.data_ptr())


class EndsInItsMidst:
    """The transformer, whose forward number ``at`` is ended after its first layer.

    ``because``: gives the reason, by which the engine's own interrupt must be set.
    """

    def __init__(
        self, transformer: Transformer, at: int = -1, because: Callable[[Interrupt], object] = Interrupt.set
    ) -> None:
        self._transformer, self.at, self.because = transformer, at, because
        self.row_bytes, self.new_pool = transformer.row_bytes, transformer.new_pool
        self.new_cache = transformer.new_cache
        self.forwards: list[int] = []
        """Rows of each, ended ones too."""

    def forward(
        self,
        ids: torch.Tensor,
        cache: KVCache,
        *,
        positions: torch.Tensor | None = None,
        tree_mask: torch.Tensor | None = None,
        logit_rows: torch.Tensor | None = None,
        interrupt: Interrupt | None = None,
    ) -> torch.Tensor:
        self.forwards.append(len(ids))
        ends = len(self.forwards) - 1 == self.at
        if ends:
            assert interrupt is not None
            self.because(interrupt)
            assert interrupt.is_set()
            interrupt = Interrupt()
            interrupt.flag = flag_in(cache, len(ids))
        try:
            return self._transformer.forward(
                ids, cache, positions=positions, tree_mask=tree_mask, logit_rows=logit_rows, interrupt=interrupt
            )
        except Interrupted:
            assert ends
            assert cache.keys[1][:, cache.rows(1)[-1]].isnan().all(), "the second layer never began"
            raise


def engine_of(
    target: Transformer | EndsInItsMidst, tokenizer: Tokenizer, options: EngineOptions = OPTIONS
) -> Engine[KVCache]:
    return Engine(target, tokenizer, options)


def answer(
    engine: Engine[KVCache], request: GenerateRequest, cancel: CancelToken | None = None
) -> tuple[tuple[int, ...], FinishReason | None]:
    chunks = list(engine.generate(request, cancel or CancelToken()))
    return tuple(id_ for chunk in chunks for id_ in chunk.token_ids), chunks[-1].finish


def gives_up(cancel: CancelToken) -> Callable[[Interrupt], object]:
    return lambda _: cancel.cancel()


def known_tokens(engine: Engine[KVCache]) -> int:
    """After the check that every row is free or the tree's, once."""
    pool, tree = engine._prefixes.pool, engine._prefixes.tree
    assert isinstance(pool, TokenPool)
    held, nodes = list[int](), [tree._root]
    while nodes:
        node = nodes.pop()
        assert node.locks == 0
        nodes += node.children.values()
        held += node.rows.tolist()
    assert len(held) == len(set(held)) == tree.held == pool.capacity - pool.free
    return tree.held


def test_an_interrupted_forward_appends_nothing(transformer: Transformer) -> None:
    cache, interrupt = transformer.new_cache(100), Interrupt()
    transformer.forward(IDS[:20], cache)
    interrupt.flag = flag_in(cache, 40)
    with pytest.raises(Interrupted):
        transformer.forward(IDS[20:], cache, interrupt=interrupt)
    assert cache.length == 20
    whole = transformer.forward(IDS[20:], cache, interrupt=Interrupt(), logit_rows=slice(None))
    fresh = transformer.new_cache(100)
    transformer.forward(IDS[:20], fresh)
    assert torch.equal(whole, transformer.forward(IDS[20:], fresh, logit_rows=slice(None)))


def test_an_interrupt_given_before_takes_no_row(transformer: Transformer) -> None:
    pool, interrupt = transformer.new_pool(50), Interrupt()
    interrupt.set()
    with pytest.raises(Interrupted):
        transformer.forward(IDS, pool.sequence(), interrupt=interrupt)
    assert pool.free == 50


PROMPT = tuple(i * 7 % 250 for i in range(120))
CHUNKS = replace(OPTIONS, prefill_chunk=32, first_chunk=16)


@pytest.mark.parametrize(("at", "kept"), [(0, 0), (1, 16), (2, 32), (4, 96)])
def test_a_cancel_in_a_forward_leaves_whole_forwards_only(
    transformer: Transformer, byte_tokenizer: Tokenizer, at: int, kept: int
) -> None:
    """Of a prompt, and in the last case the first one of the answer, which takes the rest of the prompt along."""
    request, cancel = GenerateRequest(PROMPT, max_tokens=5), CancelToken()
    target = EndsInItsMidst(transformer, at, gives_up(cancel))
    engine = engine_of(target, byte_tokenizer, CHUNKS)
    assert answer(engine, request, cancel) == ((), FinishReason.CANCELLED)
    assert target.forwards == [16, 16, 32, 32, 24][: at + 1]
    assert known_tokens(engine) == kept
    assert answer(engine, request) == answer(engine_of(transformer, byte_tokenizer), request)
    assert known_tokens(engine) >= 120


class CancelsAsItBegins(EndsInItsMidst):
    cancel = CancelToken()

    def forward(
        self,
        ids: torch.Tensor,
        cache: KVCache,
        *,
        positions: torch.Tensor | None = None,
        tree_mask: torch.Tensor | None = None,
        logit_rows: torch.Tensor | None = None,
        interrupt: Interrupt | None = None,
    ) -> torch.Tensor:
        self.cancel.cancel()
        return self._transformer.forward(
            ids, cache, positions=positions, tree_mask=tree_mask, logit_rows=logit_rows, interrupt=interrupt
        )


@pytest.mark.parametrize(("cold_rows", "kept"), [(104, [16, 32, 32]), (200, [0, 0, 0])])
def test_keys_that_each_cancel_the_one_before_get_ahead_in_a_cold_prompt(
    transformer: Transformer, byte_tokenizer: Tokenizer, cold_rows: int, kept: list[int]
) -> None:
    """By the first forward of each, as long as 104 of the 120 rows are to be computed."""
    target = CancelsAsItBegins(transformer)
    engine = engine_of(target, byte_tokenizer, replace(CHUNKS, cold_rows=cold_rows))
    for rows in kept:
        target.cancel = CancelToken()
        assert answer(engine, GenerateRequest(PROMPT, max_tokens=5), target.cancel) == ((), FinishReason.CANCELLED)
        assert known_tokens(engine) == rows


def test_a_cancel_in_a_later_forward_keeps_the_text_so_far(transformer: Transformer, byte_tokenizer: Tokenizer) -> None:
    request, cancel = GenerateRequest(PROMPT, max_tokens=6), CancelToken()
    target = EndsInItsMidst(transformer, 7, gives_up(cancel))
    engine = engine_of(target, byte_tokenizer, CHUNKS)
    whole, _ = answer(engine_of(transformer, byte_tokenizer), request)
    assert len(whole) == 6
    assert answer(engine, request, cancel) == (whole[:3], FinishReason.CANCELLED)
    assert known_tokens(engine) == 122
    assert answer(engine, request)[0] == whole


def test_the_deadline_ends_a_prompt(transformer: Transformer, byte_tokenizer: Tokenizer) -> None:
    def wait(interrupt: Interrupt) -> None:
        while not interrupt.is_set():
            time.sleep(0.001)

    engine = engine_of(EndsInItsMidst(transformer, 0, wait), byte_tokenizer, CHUNKS)
    assert answer(engine, GenerateRequest(PROMPT, max_tokens=5, deadline_ms=50)) == ((), FinishReason.DEADLINE)
    assert known_tokens(engine) == 0


def test_the_deadline_ends_no_step_that_adds_to_the_text(byte_tokenizer: Tokenizer) -> None:
    request = GenerateRequest(PROMPT, deadline_ms=0)
    for decoding in (False, True):
        job = Job(request, CancelToken(), 0.0, [], Answer(request, byte_tokenizer), decoding=float(decoding))
        job.expire()
        assert job.interrupt.is_set() != decoding


def test_a_cancel_is_not_lost_when_work_goes_on(byte_tokenizer: Tokenizer) -> None:
    request, cancel = GenerateRequest(PROMPT), CancelToken()
    job = Job(request, cancel, time.monotonic(), [], Answer(request, byte_tokenizer))
    job.interrupt.set()
    job.resume()
    assert not job.interrupt.is_set()
    cancel.cancel()
    job.resume()
    assert job.interrupt.is_set()


def test_random_interrupts_change_no_answer(transformer: Transformer, byte_tokenizer: Tokenizer) -> None:
    """Prompts that share their beginnings, over a pool that is full most of the time."""
    rng = random.Random(5)
    target = EndsInItsMidst(transformer)
    engine = engine_of(target, byte_tokenizer, CHUNKS)
    plain = engine_of(transformer, byte_tokenizer, replace(OPTIONS, prefill_chunk=7))
    for _ in range(40):
        start = rng.randrange(3) * 50
        prompt = (*range(start, start + rng.randrange(20, 90)), *(rng.randrange(250) for _ in range(rng.randrange(9))))
        request, cancel = GenerateRequest(prompt, max_tokens=4), CancelToken()
        target.at, target.because = len(target.forwards) + rng.randrange(6), gives_up(cancel)
        found, finish = answer(engine, request, cancel)
        expected, complete = answer(plain, request)
        assert (found, finish) in ((expected, complete), (expected[: len(found)], FinishReason.CANCELLED))
        known_tokens(engine)


def test_background_work_gives_way_in_the_midst_of_a_forward(
    transformer: Transformer, byte_tokenizer: Tokenizer
) -> None:
    """And goes on from its last whole forward; in idle time forwards stay short."""
    request = GenerateRequest((1, 2, 3), max_tokens=1)
    asked = threading.Thread(target=lambda: found.append(answer(engine, request)))
    found: list[tuple[tuple[int, ...], FinishReason | None]] = []

    def ask(_: Interrupt) -> None:
        asked.start()
        while not engine._turns.interactive_waiting():
            pass

    target = EndsInItsMidst(transformer, 1, ask)
    engine = engine_of(target, byte_tokenizer, CHUNKS)
    engine.warm(PROMPT[:80])
    asked.join()
    assert found == [answer(engine_of(transformer, byte_tokenizer), request)]
    assert target.forwards == [16, 16, 3, 16, 16, 16, 15]
    assert known_tokens(engine) == 79 + 3


def test_who_waits_interrupts_background_work_and_nobody_else() -> None:
    turns, never = Turns(), CancelToken()

    def enters(background: bool) -> tuple[Interrupt, threading.Thread]:
        interrupt = Interrupt()
        thread = threading.Thread(target=turns.enter, args=(background, never, lambda: None, interrupt))
        return interrupt, thread

    for background in (True, False):
        interrupt = Interrupt()
        assert turns.enter(background, never, lambda: None, interrupt)
        idle, interactive = enters(True)[1], enters(False)[1]
        idle.start()
        assert not interrupt.is_set()
        interactive.start()
        while not turns.interactive_waiting():
            pass
        assert interrupt.is_set() == background
        for thread in (interactive, idle):
            turns.leave()
            thread.join()
        turns.leave()


def test_an_interrupt_without_a_reason_left_costs_nothing(transformer: Transformer, byte_tokenizer: Tokenizer) -> None:
    """The request that came in between has left the queue again."""
    target = EndsInItsMidst(transformer, 1)
    engine = engine_of(target, byte_tokenizer, CHUNKS)
    assert engine.warm(PROMPT[:60]).prompt_tokens == 60
    assert target.forwards == [16, 16, 16, 16, 11]
    assert known_tokens(engine) == 59
