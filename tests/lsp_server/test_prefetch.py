"""What is computed ahead: the prompt at the end of what is shown, until a key; by our own engine here, no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from holefill.context.items import CharOffset, Cursor
from holefill.lsp_server import server as serving
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.completion import Completion, CompletionRequest, Reason, accepted
from holefill.lsp_server.config import Settings
from holefill.lsp_server.engine_link import State, Status
from holefill.lsp_server.prefetch import Prefetcher, opened_at
from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError
from holefill.model.request import Chunk, FinishReason, GenerateRequest, Timing
from holefill.model.serving.client import HttpBackend
from holefill.model.tokenizer import Tokenizer
from tests.lsp_server.conftest import ScriptedServer

LONG_S = 20.0


def request_at(marked: str, path: str = "/w/a.py") -> CompletionRequest:
    prefix, suffix = marked.split("|")
    return CompletionRequest(Cursor(path, prefix + suffix, CharOffset(len(prefix)), "python", root="/w"))


SHOWN = (request_at("x = |\n"), Completion("value", Reason.MODEL))


@dataclass
class Engine:
    """Says ``text`` at once; keeps the prompts it was asked and those it was to compute ahead."""

    text: str = "value\n"
    warms: bool = True
    asked: list[tuple[int, ...]] = field(default_factory=list)
    ahead: list[tuple[int, ...]] = field(default_factory=list)
    model_name: str = "fake"

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        self.asked.append(request.prompt_ids)
        yield Chunk(self.text, finish=FinishReason.SHAPE, timing=Timing())

    def warm(self, prompt_ids: Sequence[int], cancel: CancelToken | None = None) -> Timing:
        self.ahead.append(tuple(prompt_ids))
        return Timing()

    def close(self) -> None:
        pass


class Asked:
    """Takes the place of the engine link: holds every call until it is cancelled."""

    def __init__(self, hold: bool = False) -> None:
        self.calls: list[tuple[CompletionRequest, Completion | None]] = []
        self.came, self.ended = threading.Event(), threading.Event()
        self._hold = hold

    def __call__(self, request: CompletionRequest, completion: Completion | None, cancel: CancelToken) -> None:
        self.calls.append((request, completion))
        cancelled = threading.Event()
        cancel.on_cancel(cancelled.set)
        self.came.set()
        if not self._hold or cancelled.wait(LONG_S):
            self.ended.set()


@pytest.fixture
def tokenizer(byte_model: Path) -> Tokenizer:
    return Tokenizer.load(byte_model)


@pytest.mark.parametrize("marked", ["x = |\n", "def f(a):\n    print(|)\n", "|"])
def test_the_prompt_ahead_is_the_one_asked_for_after_taking_the_suggestion(tokenizer: Tokenizer, marked: str) -> None:
    engine = Engine()
    completer = Completer(engine, tokenizer)
    request = request_at(marked)
    completion = completer.complete(request, CancelToken())
    completer.prefetch(request, completion, CancelToken())
    taken = accepted(request.cursor, completion)
    assert taken.prefix == request.cursor.prefix + completion.text
    completer.complete(replace(request, cursor=taken), CancelToken())
    assert engine.ahead == [engine.asked[1]] != [engine.asked[0]]


def test_the_place_itself_when_nothing_was_shown(tokenizer: Tokenizer) -> None:
    engine = Engine()
    completer = Completer(engine, tokenizer)
    completer.prefetch(request_at("x = |\n"), None, CancelToken())
    completer.complete(request_at("x = |\n"), CancelToken())
    assert engine.ahead == engine.asked


def test_secrets_and_other_engines_are_left_alone(tokenizer: Tokenizer, engine: ScriptedServer) -> None:
    here, elsewhere = Engine(), Engine(warms=False)
    Completer(here, tokenizer).prefetch(request_at("KEY=|\n", "/w/.env"), None, CancelToken())
    Completer(elsewhere, tokenizer).prefetch(*SHOWN, CancelToken())
    foreign = HttpBackend(engine.url)
    Completer(foreign, tokenizer).prefetch(*SHOWN, CancelToken())
    foreign.warm((1, 2, 3))
    assert (here.ahead, elsewhere.ahead, engine.prompts) == ([], [], [])


def test_a_pause_then_the_engine_then_a_key() -> None:
    asked = Asked(hold=True)
    prefetcher = Prefetcher(asked, pause_s=0)
    prefetcher.shown(*SHOWN)
    assert asked.came.wait(LONG_S)
    assert not asked.ended.is_set()
    prefetcher.cancel()
    assert asked.ended.wait(LONG_S)
    assert asked.calls == [SHOWN]


def test_a_key_within_the_pause_and_silence_ask_nothing() -> None:
    asked = Asked()
    prefetcher = Prefetcher(asked, pause_s=3600)
    prefetcher.shown(*SHOWN)
    waiting = prefetcher._timer
    assert waiting is not None
    prefetcher.cancel()
    waiting.join(LONG_S)
    assert not waiting.is_alive()
    prefetcher.shown(SHOWN[0], Completion("", Reason.EMPTY))
    assert prefetcher._timer is None
    prefetcher.stop()
    prefetcher.rests(SHOWN[0])
    assert prefetcher._timer is None
    assert not asked.calls


def test_a_cursor_that_rests_where_a_suggestion_is_shown_changes_nothing() -> None:
    prefetcher = Prefetcher(Asked(), pause_s=3600)
    prefetcher.shown(*SHOWN)
    waiting = prefetcher._timer
    prefetcher.rests(SHOWN[0])
    assert prefetcher._timer is waiting
    prefetcher.rests(request_at("x = 1|\n"))
    assert prefetcher._timer is not waiting
    prefetcher.stop()


def test_what_was_wished_for_while_the_engine_started_is_asked_when_it_is_there() -> None:
    asked = Asked()
    prefetcher = Prefetcher(asked, pause_s=0)
    prefetcher.rests(SHOWN[0])
    assert asked.came.wait(LONG_S)
    asked.came.clear()
    prefetcher.connected()
    assert asked.came.wait(LONG_S)
    assert asked.calls == [(SHOWN[0], None)] * 2
    prefetcher.cancel()
    prefetcher.connected()
    assert prefetcher._timer is None


def test_an_engine_that_is_gone_is_nobody_elses_trouble() -> None:
    done = threading.Event()

    def ask(request: CompletionRequest, completion: Completion | None, cancel: CancelToken) -> None:
        done.set()
        raise EngineError("gone")

    failures: list[threading.ExceptHookArgs] = []
    before, threading.excepthook = threading.excepthook, failures.append
    try:
        prefetcher = Prefetcher(ask, pause_s=0)
        prefetcher.rests(SHOWN[0])
        timer = prefetcher._timer
        assert done.wait(LONG_S)
        if timer is not None:
            timer.join(LONG_S)
    finally:
        threading.excepthook = before
    assert not failures


@dataclass
class Wishes:
    """A prefetcher that only writes down."""

    seen: list[str] = field(default_factory=list)

    def shown(self, request: CompletionRequest, completion: Completion) -> None:
        self.seen.append(f"shown {completion.text}")

    def rests(self, request: CompletionRequest) -> None:
        self.seen.append(f"rests {request.cursor.offset}")

    def connected(self) -> None:
        self.seen.append("connected")

    def cancel(self) -> None:
        self.seen.append("key")

    def stop(self) -> None:
        self.seen.append("stop")


def test_the_server_wishes_after_what_it_shows_and_forgets_at_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    server = serving.create(Settings(), use_cache=False)
    wishes = Wishes()
    monkeypatch.setattr(server, "prefetcher", wishes)

    class Link:
        recall = staticmethod(lambda request: None)
        complete = staticmethod(lambda request, cancel: Completion("value", Reason.MODEL))
        close = staticmethod(lambda: None)

    monkeypatch.setattr(server, "engine", Link())
    asyncio.run(server.suggest("file:///w/a.py", SHOWN[0]))
    server._tell(Status(State.STARTING))
    server._tell(Status(State.READY))
    server.stop()
    assert wishes.seen == ["key", "shown value", "connected", "stop"]


def test_an_opened_file_is_read_from_its_start() -> None:
    assert opened_at("short") == 5
    text = "line of code\n" * 300
    assert text[: opened_at(text)].endswith("\n")
    assert 0 < opened_at(text) < 1_300
