"""A server on a scripted target, in a thread, and what its tests ask it with."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from holefill.model.cancel import CancelToken
from holefill.model.engine import Engine, EngineOptions
from holefill.model.request import Backend, GenerateRequest
from holefill.model.serving.app import ServingState
from holefill.model.serving.server import Listener, run_server, tcp_listener, unix_listener
from holefill.model.spec.cost import CostCurve
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.tokenizer import Tokenizer
from tests.model.conftest import MakeScripted, Scripted

TOKEN = "0123456789abcdef"
PROMPT = tuple(range(40))


@dataclass
class Running:
    """A server in a thread, on a Unix socket and on TCP."""

    uds: Path
    port: int
    target: Scripted
    state: ServingState
    speculator: TreeSpeculator

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.uds)), base_url="http://localhost", headers=headers
        )

    def post(self, **body: Any) -> httpx.Response:
        with self.client() as client:
            return client.post("/v1/completions", json={"prompt": list(PROMPT), **body}, timeout=60)

    def metrics(self) -> str:
        with self.client() as client:
            return client.get("/metrics", timeout=60).text

    def events(self, **body: Any) -> list[dict[str, Any]]:
        lines = self.post(stream=True, **body).text.split("\n\n")
        assert lines[-2:] == ["data: [DONE]", ""]
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A socket's path may have 107 bytes; pytest's own folders are longer."""
    with tempfile.TemporaryDirectory(prefix="hf") as folder:
        yield Path(folder)


@contextmanager
def serving(state: ServingState, listeners: list[Listener], load: Callable[[], object]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=run_server, args=(state, listeners, load), kwargs={"stop": stop})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def running(byte_tokenizer: Tokenizer, scripted: MakeScripted, short_folder: Path) -> Iterator[Running]:
    target = scripted(40, "hello wörld")
    state = ServingState("tiny")
    drafting = TreeSpeculator(260, cost=CostCurve.flat(), encode=byte_tokenizer.encode)
    options = EngineOptions(name="tiny", prefill_chunk=8, max_context=1000, draft_budget=0)
    backend = Engine(target, byte_tokenizer, options, drafting)
    listeners = [unix_listener(short_folder / "e.sock"), tcp_listener("127.0.0.1", 0, TOKEN)]
    running = Running(short_folder / "e.sock", listeners[1].socket.getsockname()[1], target, state, drafting)
    with serving(state, listeners, lambda: state.ready(backend, byte_tokenizer, backend.check, backend)):
        wait_for(lambda: state.backend is not None)
        yield running


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def text_of(backend: Backend, request: GenerateRequest) -> str:
    return "".join(chunk.text for chunk in backend.generate(request, CancelToken()))
