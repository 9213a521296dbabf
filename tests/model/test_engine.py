"""The engine: lossless reuse, cancellation and deadlines within one step, turns, and the seam for speculation."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holefill.model.cancel import CancelToken, Interrupt
from holefill.model.engine import Engine, EngineOptions
from holefill.model.errors import EngineError
from holefill.model.repository import RepositoryReply, RepositoryUpdate
from holefill.model.request import Backend, Chunk, FinishReason, GenerateRequest, Sampling, Shape, StopSpec
from holefill.model.spec.top import Likeliest
from holefill.model.spec.tree import DraftTree, Forced, TreeBuilder
from holefill.model.spec.verify import Verdict
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer
from tests.model.conftest import MakeScripted

PROMPT = tuple(range(40))
SMALL = EngineOptions(prefill_chunk=8, draft_budget=6, max_context=400)


def collect(engine: Backend, request: GenerateRequest, cancel: CancelToken | None = None) -> list[Chunk]:
    return list(engine.generate(request, cancel or CancelToken()))


def text_of(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_streams_what_the_model_says(byte_tokenizer: Tokenizer, scripted: MakeScripted) -> None:
    target = scripted(40, "hello wörld")
    chunks = collect(Engine(target, byte_tokenizer, SMALL), GenerateRequest(PROMPT))
    assert text_of(chunks) == "hello wörld"
    assert [chunk.finish for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    last = chunks[-1]
    assert last.finish is FinishReason.STOP_TOKEN
    assert last.timing is not None
    assert (last.timing.prompt_tokens, last.timing.cached_tokens, last.timing.completion_tokens) == (40, 0, 13)
    assert last.timing.forwards == 12
    assert target.forwards == [8, 8, 8, 8, 8, *[1] * 12]
    ids = [id_ for chunk in chunks for id_ in chunk.token_ids]
    assert byte_tokenizer.decode(ids) == "hello wörld"
    assert len([p for chunk in chunks for p in chunk.logprobs]) == len(ids)


def test_a_second_request_computes_only_what_differs(byte_tokenizer: Tokenizer, scripted: MakeScripted) -> None:
    target = scripted(40, "x")
    engine = Engine(target, byte_tokenizer, SMALL)
    collect(engine, GenerateRequest(PROMPT))
    target.forwards.clear()
    chunks = collect(engine, GenerateRequest((*PROMPT[:37], 9, 9, 9)))
    assert chunks[-1].timing is not None
    assert chunks[-1].timing.cached_tokens == 37
    assert target.forwards == [3, 1]


def test_stop_rule_ends_decoding_and_drops_the_tokens_behind_the_cut(
    byte_tokenizer: Tokenizer, scripted: MakeScripted
) -> None:
    target = scripted(40, "a\n  b\nreturn total\nmore and more")
    stop = StopSpec(suffix_lines=("return total",))
    chunks = collect(Engine(target, byte_tokenizer, SMALL), GenerateRequest(PROMPT, stop=stop))
    assert text_of(chunks) == "a\n  b"
    assert chunks[-1].finish is FinishReason.SUFFIX_LINE
    assert byte_tokenizer.decode([id_ for chunk in chunks for id_ in chunk.token_ids]) == "a\n  b"
    assert len(target.forwards) - 5 == len("  b\nreturn total\n") + 1


def test_an_unfinished_character_is_never_sent(byte_tokenizer: Tokenizer, scripted: MakeScripted) -> None:
    chunks = collect(Engine(scripted(40, "aé🎉z"), byte_tokenizer, SMALL), GenerateRequest(PROMPT, max_tokens=5))
    assert [chunk.text for chunk in chunks] == ["a", "é", "�"]
    assert chunks[-1].finish is FinishReason.LENGTH


@pytest.mark.parametrize("at", [0, 2, 5, 9])
def test_cancel_stops_within_one_step(byte_tokenizer: Tokenizer, scripted: MakeScripted, at: int) -> None:
    """In the prefill (5 forwards) as in the decode: the forward that runs is the last."""
    target, cancel = scripted(40, "a" * 100), CancelToken()

    def cancel_during() -> None:
        if len(target.forwards) == at:
            cancel.cancel()

    target.before_forward = cancel_during
    chunks = collect(Engine(target, byte_tokenizer, SMALL), GenerateRequest(PROMPT), cancel)
    assert len(target.forwards) == at + 1
    assert chunks[-1].finish is FinishReason.CANCELLED


def test_deadline_keeps_the_text_so_far(
    byte_tokenizer: Tokenizer, scripted: MakeScripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 ms a forward: five for the prompt, then as many tokens as 200 ms leave."""
    target = scripted(40, "x" * 50)
    clock = SimpleNamespace(monotonic=lambda: 0.020 * len(target.forwards))
    monkeypatch.setattr("holefill.model.engine.time", clock)
    monkeypatch.setattr("holefill.model.job.time", clock)
    chunks = collect(Engine(target, byte_tokenizer, SMALL), GenerateRequest(PROMPT, deadline_ms=200, max_tokens=90))
    assert chunks[-1].finish is FinishReason.DEADLINE
    assert text_of(chunks) == "x" * 6


def test_interactive_interrupts_background(byte_tokenizer: Tokenizer, scripted: MakeScripted) -> None:
    target = scripted(400, "ab")
    target.seconds = 0.01
    engine = Engine(target, byte_tokenizer, EngineOptions(prefill_chunk=8, max_context=1000))
    order: list[str] = []
    long = tuple(i % 250 for i in range(400))

    def background() -> None:
        engine.warm(long)
        order.append("background")

    thread = threading.Thread(target=background)
    thread.start()
    while len(target.forwards) < 2:
        time.sleep(0.001)
    chunks = collect(engine, GenerateRequest((1, 2, 3), max_tokens=2))
    order.append("interactive")
    thread.join()
    assert order == ["interactive", "background"]
    assert chunks[-1].timing is not None
    assert sum(target.forwards) <= 399 + 3 + 2, "the background prefill kept its rows"
    target.forwards.clear()
    assert text_of(collect(engine, GenerateRequest(long))) == "ab"
    assert target.forwards[0] == 1


def test_background_work_gives_way_before_its_next_step(byte_tokenizer: Tokenizer, scripted: MakeScripted) -> None:
    """A request that comes during a background forward is the very next to compute."""
    target = scripted(3, "ab")
    engine = Engine(target, byte_tokenizer, EngineOptions(prefill_chunk=16, max_context=1000))
    begun, waits = threading.Event(), threading.Event()

    def hold() -> None:
        if target.forwards == [16]:  # in the second background forward
            begun.set()
            assert waits.wait(20)

    target.before_forward = hold
    thread = threading.Thread(target=engine.warm, args=(tuple(i % 250 for i in range(100)),))
    thread.start()
    assert begun.wait(20)
    asked = threading.Thread(target=collect, args=(engine, GenerateRequest((1, 2, 3), max_tokens=2)))
    asked.start()
    while not engine._turns.interactive_waiting():
        time.sleep(0.001)
    waits.set()
    asked.join(20)
    thread.join(20)
    assert target.forwards == [16, 16, 3, 1, 16, 16, 16, 16, 3]


def test_cancelled_background_work_keeps_what_it_has(byte_tokenizer: Tokenizer, scripted: MakeScripted) -> None:
    target = scripted(100, "ab")
    engine = Engine(target, byte_tokenizer, EngineOptions(prefill_chunk=16, max_context=1000))
    cancel, prompt = CancelToken(), tuple(i % 250 for i in range(100))
    target.before_forward = lambda: cancel.cancel() if target.forwards == [16] else None
    assert engine.warm(prompt, cancel).prompt_tokens == 100
    assert target.forwards == [16, 16]
    assert engine.warm(prompt).cached_tokens == 32
    timing = collect(engine, GenerateRequest(prompt))[-1].timing
    assert timing is not None
    assert timing.cached_tokens == 99


def test_a_cancelled_request_leaves_the_queue(byte_tokenizer: Tokenizer, scripted: MakeScripted) -> None:
    engine = Engine(scripted(40, "abc"), byte_tokenizer, SMALL)
    first = engine.generate(GenerateRequest(PROMPT), CancelToken())
    next(first)
    cancel = CancelToken()
    threading.Timer(0.05, cancel.cancel).start()
    assert [chunk.finish for chunk in collect(engine, GenerateRequest(PROMPT), cancel)] == [FinishReason.CANCELLED]
    late = collect(engine, GenerateRequest(PROMPT, deadline_ms=30))
    assert [chunk.finish for chunk in late] == [FinishReason.DEADLINE]
    first.close()  # an abandoned answer frees the engine
    assert text_of(collect(engine, GenerateRequest(PROMPT))) == "abc"


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (GenerateRequest(()), "empty"),
        (GenerateRequest((1, 260)), "vocabulary"),
        (GenerateRequest((1, -1)), "vocabulary"),
        (GenerateRequest((1,), max_tokens=-1), "max_tokens"),
        (GenerateRequest((1,) * 390), "context"),
    ],
)
def test_bad_requests(byte_tokenizer: Tokenizer, scripted: MakeScripted, request_: GenerateRequest, says: str) -> None:
    with pytest.raises(EngineError, match=says):
        collect(Engine(scripted(40, "a"), byte_tokenizer, SMALL), request_)


def test_a_failed_forward_is_an_engine_error_and_not_the_end(byte_tokenizer: Tokenizer, scripted: MakeScripted) -> None:
    target = scripted(40, "abc")
    engine = Engine(target, byte_tokenizer, SMALL)

    def fail() -> None:
        raise RuntimeError("out of memory")

    target.before_forward = fail
    with pytest.raises(EngineError, match="out of memory"):
        collect(engine, GenerateRequest(PROMPT))
    target.before_forward = lambda: None
    assert text_of(collect(engine, GenerateRequest(PROMPT))) == "abc"


class Guesses:
    """Drafts a fixed token after the root, and under it the truth for some steps: right, wrong and branching."""

    def __init__(self, truth: Sequence[int], prompt_length: int, pattern: Sequence[bool]) -> None:
        self._truth, self._start = truth, prompt_length
        self._pattern = itertools.cycle(pattern)
        self.accepted = 0

    def propose(
        self,
        request: GenerateRequest,
        ids: Sequence[int],
        budget: int,
        forced: tuple[Forced, ...] = (),
        interrupt: Interrupt | None = None,
    ) -> DraftTree:
        builder = TreeBuilder(ids[-1])
        parent, at = 0, len(ids) - self._start
        while len(builder) <= budget - 2:
            builder.add(parent, 3, 0.5, "wrong", 1)
            right = self._truth[at] if at < len(self._truth) and next(self._pattern) else 5
            parent = builder.add(parent, right, 0.5, "right", 1)
            at += 1
        return builder.tree()

    def observe(self, tree: DraftTree, verdict: Verdict, top: Likeliest) -> None:
        assert len(top.ids) == len(tree)
        self.accepted += len(verdict.path) - 1

    def learn(self, ids: Sequence[int], top: Likeliest) -> None:
        pass

    def follow(self, ids: Sequence[int], interrupt: Interrupt | None = None) -> None:
        pass

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        raise AssertionError("sent a repository")


REQUESTS = [
    GenerateRequest(tuple(range(60, 90)), max_tokens=20),
    GenerateRequest((*range(60, 85), 7, 8), max_tokens=12, stop=StopSpec(Shape.LINE)),
    GenerateRequest(tuple(range(200, 240)), max_tokens=9, sampling=Sampling(temperature=0.8, seed=3)),
    GenerateRequest(tuple(range(200, 230)), max_tokens=9, sampling=Sampling(temperature=1.2, top_k=9, seed=4)),
    GenerateRequest((5,), max_tokens=4),
    GenerateRequest(tuple(range(100)), max_tokens=6),
]


def answer(engine: Backend, request: GenerateRequest) -> tuple[str, tuple[int, ...], FinishReason | None]:
    chunks = collect(engine, request)
    return text_of(chunks), tuple(id_ for chunk in chunks for id_ in chunk.token_ids), chunks[-1].finish


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, len(REQUESTS) - 1), min_size=1, max_size=6), rows=st.integers(110, 300))
def test_what_was_cached_before_changes_nothing(
    tiny_transformer: Transformer, byte_tokenizer: Tokenizer, order: list[int], rows: int
) -> None:
    options = EngineOptions(cache_mb=rows * tiny_transformer.row_bytes / 2**20, prefill_chunk=16, max_context=400)
    used = Engine(tiny_transformer, byte_tokenizer, options)
    for index in order:
        fresh = Engine(tiny_transformer, byte_tokenizer, options)
        assert answer(used, REQUESTS[index]) == answer(fresh, REQUESTS[index])


@pytest.mark.parametrize("pattern", [(True,), (False,), (True, True, False), (False, True)])
@pytest.mark.parametrize("index", range(4))
def test_drafts_change_nothing_but_the_number_of_forwards(
    tiny_transformer: Transformer, byte_tokenizer: Tokenizer, index: int, pattern: tuple[bool, ...]
) -> None:
    request = REQUESTS[index]
    plain = answer(Engine(tiny_transformer, byte_tokenizer, SMALL), request)
    guesses = Guesses(plain[1], len(request.prompt_ids), pattern)
    engine = Engine(tiny_transformer, byte_tokenizer, SMALL, guesses)
    assert answer(engine, request) == plain
    assert answer(engine, request) == plain, "rows of rejected drafts must not stay"
    if pattern == (True,) and len(plain[1]) > 4:
        assert guesses.accepted > 0


@pytest.mark.model
def test_the_real_model_fills_a_hole(default_model_path: Path) -> None:
    from holefill.model.loading import load_engine

    engine = load_engine(default_model_path)
    prefix, suffix, middle = engine.tokenizer.fim_ids() or (0, 0, 0)
    before = engine.tokenizer.encode("def mean(values: list[float]) -> float:\n    return sum(")
    after = engine.tokenizer.encode(") / len(values)\n\n\nprint(mean([1, 2]))\n")
    request = GenerateRequest(
        (prefix, *before, suffix, *after, middle), stop=StopSpec(Shape.STATEMENT, closers=")"), max_tokens=16
    )
    cold, warm = collect(engine, request), collect(engine, request)
    assert text_of(cold) == text_of(warm) == "values"
    assert warm[-1].timing is not None
    assert warm[-1].timing.cached_tokens == len(request.prompt_ids) - 1
