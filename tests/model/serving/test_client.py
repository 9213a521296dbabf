"""The client: what the engine gives, other servers, and stopping at once."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError
from holefill.model.repository import SourceText, send_changes, send_repository
from holefill.model.request import FinishReason, GenerateRequest, Sampling, Shape, StopSpec
from holefill.model.serving.app import create_app
from holefill.model.serving.client import HttpBackend
from holefill.model.serving.guard import Guard, Policy
from tests.model.serving.conftest import PROMPT, TOKEN, Running, text_of, wait_for


def test_headers_come_before_the_prefill_and_a_disconnect_stops_it(running: Running) -> None:
    gate = threading.Event()
    running.target.before_forward = lambda: gate.wait(10)
    connection = http.client.HTTPConnection("127.0.0.1", running.port)
    body = json.dumps({"prompt": list(PROMPT), "stream": True})
    connection.request("POST", "/v1/completions", body, {"authorization": f"Bearer {TOKEN}"})
    assert connection.getresponse().status == 200
    assert running.target.forwards == []
    connection.close()
    time.sleep(0.3)
    gate.set()
    wait_for(lambda: running.state.metrics.in_flight == 0)
    time.sleep(0.1)
    assert len(running.target.forwards) <= 1


def test_a_disconnect_stops_a_whole_answer_too(running: Running) -> None:
    running.target.script = list(b"a" * 500)
    running.target.seconds = 0.02
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(str(running.uds))
    body = json.dumps({"prompt": list(PROMPT), "max_tokens": 400}).encode()
    raw.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    wait_for(lambda: len(running.target.forwards) > 6)
    raw.close()
    wait_for(lambda: running.state.metrics.in_flight == 0)
    stopped = len(running.target.forwards)
    time.sleep(0.2)
    assert len(running.target.forwards) <= stopped + 1
    assert stopped < 60


def test_the_client_gives_what_the_engine_gives(running: Running) -> None:
    backend = HttpBackend(uds=running.uds)
    requests = [
        GenerateRequest(PROMPT),
        GenerateRequest(PROMPT, max_tokens=3, stop=StopSpec(Shape.LINE, 4, ("x", "y"), ")]", "//")),
        GenerateRequest(
            PROMPT, sampling=Sampling(0.5, 0.9, 5, 3), deadline_ms=600_000, background=True, draft_texts=("a",)
        ),
    ]
    for request in requests:
        direct = list(running.state.backend.generate(request, CancelToken())) if running.state.backend else []
        served = list(backend.generate(request, CancelToken()))
        assert [(c.text, c.token_ids, c.finish) for c in served] == [(c.text, c.token_ids, c.finish) for c in direct]
        assert served[-1].timing is not None
        assert served[-1].timing.prompt_tokens == 40
    assert backend.model_name == "tiny"
    backend.close()


def test_a_repository_travels_once_and_then_only_what_changed(running: Running) -> None:
    backend = HttpBackend(uds=running.uds)
    texts = {"a.py": "def total(items):\n", "b.py": "x = total([])\n"}
    read: list[str] = []

    def files() -> list[SourceText]:
        def reader(path: str) -> Callable[[], str]:
            def text() -> str:
                read.append(path)
                return texts[path]

            return text

        return [SourceText(path, str(hash(text)), reader(path)) for path, text in texts.items()]

    assert backend.takes_repositories
    send_repository(backend, "/r", files())
    assert sorted(read) == ["a.py", "b.py"]
    texts["b.py"] = "y = 1\n"
    assert send_changes(backend, "/r", files(), [])
    assert read[2:] == ["b.py"]
    assert not send_changes(backend, "/other", files(), [])  # never sent: the whole is wanted
    assert running.speculator.repositories.tokens() == sum(map(len, texts.values()))
    backend.close()


def test_repositories_stay_on_this_machine(running: Running) -> None:
    assert not HttpBackend("http://192.0.2.1:8012", token=TOKEN).takes_repositories
    guarded = Guard(create_app(running.state), Policy(TOKEN, None, repositories=False))
    transport = httpx.ASGITransport(app=guarded)

    async def ask() -> int:
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            headers = {"authorization": f"Bearer {TOKEN}"}
            return (await client.post("/v1/repository", json={"repository": "r"}, headers=headers)).status_code

    assert asyncio.run(ask()) == 403


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"repository": "r", "files": [3]}', b"[" * 100_000])
def test_a_malformed_repository_is_refused(running: Running, raw: bytes) -> None:
    with running.client() as client:
        assert client.post("/v1/repository", content=raw).status_code == 400


def test_over_tcp_with_and_without_the_token(running: Running) -> None:
    url = f"http://127.0.0.1:{running.port}/v1/"
    assert text_of(HttpBackend(url, token=TOKEN), GenerateRequest(PROMPT)) == "hello wörld"
    with pytest.raises(EngineError, match="token"):
        text_of(HttpBackend(url), GenerateRequest(PROMPT))


def test_cancel_mid_flight_stops_the_engine_within_one_step(running: Running) -> None:
    running.target.script = list(b"ab" * 200)
    running.target.seconds = 0.05
    backend, cancel = HttpBackend(uds=running.uds), CancelToken()
    chunks = []
    for chunk in backend.generate(GenerateRequest(PROMPT, max_tokens=300), cancel):
        chunks.append(chunk)
        if len(chunks) == 3:
            at = len(running.target.forwards)
            cancel.cancel()
    assert chunks[-1].finish is FinishReason.CANCELLED
    wait_for(lambda: running.state.metrics.in_flight == 0)
    assert len(running.target.forwards) <= at + 2  # the one running, and one that began before the socket closed
    running.target.seconds = 0.0
    assert text_of(backend, GenerateRequest(PROMPT, max_tokens=2)) == "ab", "the next request is served"


def test_cancel_during_a_prefill_frees_the_caller_at_once(running: Running) -> None:
    gate, cancel = threading.Event(), CancelToken()
    running.target.before_forward = lambda: gate.wait(10)
    threading.Timer(0.3, cancel.cancel).start()
    (chunk,) = HttpBackend(uds=running.uds).generate(GenerateRequest(PROMPT), cancel)
    assert chunk.finish is FinishReason.CANCELLED
    gate.set()


def test_deadline_through_the_client(running: Running) -> None:
    running.target.script = list(b"ab" * 200)
    running.target.seconds = 0.03
    chunks = list(HttpBackend(uds=running.uds).generate(GenerateRequest(PROMPT, 300, deadline_ms=400), CancelToken()))
    assert chunks[-1].finish is FinishReason.DEADLINE
    assert ("ab" * 200).startswith("".join(chunk.text for chunk in chunks))


def test_a_dead_engine_is_named(short_folder: Path) -> None:
    with pytest.raises(EngineError, match=r"no engine answers at .*e\.sock"):
        text_of(HttpBackend(uds=short_folder / "e.sock"), GenerateRequest(PROMPT))
    with pytest.raises(EngineError, match=r"no engine answers at http://127\.0\.0\.1:9"):
        text_of(HttpBackend("http://127.0.0.1:9"), GenerateRequest(PROMPT))
    for address in ("ftp://host", "localhost:80", "http://host:port", ""):
        with pytest.raises(EngineError, match="not a server address"):
            HttpBackend(address)


def test_an_engine_that_dies_midway_is_an_error(short_folder: Path) -> None:
    with foreign(short_folder, ["a", "b"], broken=True) as uds:
        chunks = HttpBackend(uds=uds).generate(GenerateRequest((), prompt_text="x"), CancelToken())
        assert [next(chunks).text, next(chunks).text] == ["a", "b"]
        with pytest.raises(EngineError, match="in the middle"):
            next(chunks)


@contextmanager
def foreign(folder: Path, texts: list[str], *, broken: bool = False) -> Iterator[Path]:
    """Another vendor's server: no ``holefill`` in its health, prompts as text, one event per text."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "f.sock"))
    listening.listen(8)

    def answer(connection: socket.socket) -> None:
        head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        if b"/v1/completions" not in head:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            return
        while not body:
            body = connection.recv(65536)
        assert json.loads(body)["prompt"] == "x"
        assert "holefill" not in json.loads(body)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for text in texts:
            data = f"data: {json.dumps({'choices': [{'text': text, 'finish_reason': None}]})}\n\n".encode()
            connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))
        if not broken:
            data = b'data: {"choices": [{"text": "", "finish_reason": "length"}]}\n\ndata: [DONE]\n\n'
            connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):  # the client left as soon as it had enough
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield folder / "f.sock"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


def test_any_openai_server_gets_the_same_stop_rule(short_folder: Path) -> None:
    with foreign(short_folder, ["f(", "\n1", ")\n", "y"]) as uds:
        backend = HttpBackend(uds=uds)
        for stop, text, finish in (
            (StopSpec(Shape.STATEMENT), "f(\n1)", FinishReason.SHAPE),
            (StopSpec(closers=")", suffix_lines=("y",)), "f(\n1)", FinishReason.SUFFIX_LINE),
            (StopSpec(), "f(\n1)\ny", FinishReason.LENGTH),
        ):
            chunks = list(backend.generate(GenerateRequest((), stop=stop, prompt_text="x"), CancelToken()))
            assert ("".join(chunk.text for chunk in chunks), chunks[-1].finish) == (text, finish)
        assert not backend.constrains
        with pytest.raises(EngineError, match="as text only"):
            text_of(backend, GenerateRequest(PROMPT))
