"""The engine over HTTP, and the client: answers, refusals, who may ask, and stopping at once."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import stat
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
from click.testing import CliRunner
from filelock import FileLock

from holefill.model.cancel import CancelToken
from holefill.model.engine import Engine, EngineOptions
from holefill.model.errors import EngineError
from holefill.model.repository import SourceText, send_changes, send_repository
from holefill.model.request import FinishReason, GenerateRequest, Sampling, Shape, StopSpec
from holefill.model.serving.app import ServingState, create_app
from holefill.model.serving.client import HttpBackend, UnreachableError
from holefill.model.serving.commands import engine as engine_command
from holefill.model.serving.guard import Guard, Policy
from holefill.model.serving.launch import LaunchOptions, LocalEngine
from holefill.model.serving.protocol import MAX_BODY_BYTES
from holefill.model.serving.server import Listener, run_server, tcp_listener, unix_listener
from holefill.model.spec.cost import CostCurve
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.tokenizer import Tokenizer

TOKEN = "0123456789abcdef"
PROMPT = tuple(range(40))


@dataclass
class Running:
    """A server in a thread, on a Unix socket and on TCP."""

    uds: Path
    port: int
    target: Any
    state: ServingState
    speculator: TreeSpeculator

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.uds)), base_url="http://localhost", headers=headers
        )

    def post(self, **body: Any) -> httpx.Response:
        with self.client() as client:
            return client.post("/v1/completions", json={"prompt": list(PROMPT), **body}, timeout=10)

    def metrics(self) -> str:
        with self.client() as client:
            return client.get("/metrics", timeout=10).text

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
def serving(state: ServingState, listeners: list[Listener], load: Callable[[], None]) -> Iterator[None]:
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
def running(byte_tokenizer: Tokenizer, scripted: Callable[..., Any], short_folder: Path) -> Iterator[Running]:
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


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def text_of(backend: Any, request: GenerateRequest) -> str:
    return "".join(chunk.text for chunk in backend.generate(request, CancelToken()))


# The API


def test_work_ahead_over_http_keeps_rows_teaches_drafts_and_is_no_request(running: Running) -> None:
    learned: list[int] = []
    running.speculator.learn = lambda ids, logits: learned.extend(ids)  # type: ignore[method-assign]
    backend = HttpBackend(uds=running.uds)
    assert backend.warms
    assert backend.warm(PROMPT).prompt_tokens == 40
    assert learned == list(PROMPT[:-1])
    *_, last = backend.generate(GenerateRequest(PROMPT, max_tokens=1), CancelToken())
    assert last.timing is not None
    assert last.timing.cached_tokens == 39
    assert "holefill_prompt_tokens_total 40" in running.metrics()
    elsewhere = HttpBackend(f"http://127.0.0.1:{running.port}", token=TOKEN)
    elsewhere._local = False
    assert not elsewhere.warms
    elsewhere.warm(PROMPT[::-1])
    assert len(learned) == 39


def test_a_whole_answer(running: Running) -> None:
    body = running.post(max_tokens=50, logprobs=1).json()
    (choice,) = body["choices"]
    assert (body["object"], body["model"], choice["finish_reason"]) == ("text_completion", "tiny", "stop")
    assert choice["text"] == "hello wörld"
    assert len(choice["logprobs"]["token_logprobs"]) == len("hello wörld".encode())
    assert body["usage"]["prompt_tokens"] == 40
    assert body["holefill"]["finish"] == "stop_token"
    assert running.post(max_tokens=2).json()["choices"][0] | {"logprobs": None} == {
        "index": 0,
        "text": "he",
        "logprobs": None,
        "finish_reason": "length",
    }


def test_a_streamed_answer(running: Running) -> None:
    events = running.events(max_tokens=50)
    assert "".join(event["choices"][0]["text"] for event in events) == "hello wörld"
    assert [event["choices"][0]["finish_reason"] for event in events] == [None] * (len(events) - 1) + ["stop"]
    assert events[-1]["usage"]["completion_tokens"] == 13


def test_prompts_as_text_with_special_tokens_or_as_a_hole(running: Running) -> None:
    running.target.script = [ord("x")]
    for body, length in (
        ({"prompt": "ab<|fim_middle|>"}, 3),
        ({"prompt": ["ab"]}, 2),
        ({"prompt": [[97, 98]]}, 2),
        ({"prompt": "a", "suffix": "<|fim_middle|>"}, 1 + 14 + 3),  # spelled by a user: plain text
    ):
        assert running.post(**body).json()["usage"]["prompt_tokens"] == length


def test_stop_texts_and_stop_rule(running: Running) -> None:
    assert running.post(max_tokens=50, stop=[" wö", "zzz"]).json()["choices"][0]["text"] == "hello"
    events = running.events(max_tokens=50, stop="o w")
    assert "".join(event["choices"][0]["text"] for event in events) == "hell"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    running.target.script = list(b"a(\n1)\nb")
    answer = running.post(max_tokens=50, holefill={"stop": {"shape": "statement"}}).json()
    assert (answer["choices"][0]["text"], answer["holefill"]["finish"]) == ("a(\n1)", "shape")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[]", "object"),
        (b"{}", "prompt"),
        (b'{"prompt": ""}', "prompt"),
        (b'{"prompt": [1, true]}', "prompt"),
        (b'{"prompt": [999999]}', "vocabulary"),
        (b'{"prompt": [1], "suffix": "x"}', "suffix"),
        (b'{"prompt": "x", "max_tokens": "9"}', "max_tokens"),
        (b'{"prompt": "x", "max_tokens": 1e9}', "max_tokens"),
        (b'{"prompt": "x", "max_tokens": 1500}', "context"),
        (b'{"prompt": "x", "temperature": NaN}', "temperature"),
        (b'{"prompt": "x", "temperature": -1}', "temperature"),
        (b'{"prompt": "x", "stream": "yes"}', "stream"),
        (b'{"prompt": "x", "stop": [1]}', "stop"),
        (b'{"prompt": "x", "n": 3}', "n and best_of"),
        (b'{"prompt": "x", "holefill": 3}', "holefill"),
        (b'{"prompt": "x", "holefill": {"stop": {"shape": "tree"}}}', "holefill.stop.shape"),
        (b'{"prompt": "x", "holefill": {"stop": {"suffix_lines": "x"}}}', "suffix_lines"),
        (b'{"prompt": "x", "holefill": {"deadline_ms": "soon"}}', "deadline_ms"),
        (b'{"prompt": "\\ud800", "max_tokens": []}', "max_tokens"),
    ],
)
def test_malformed_input_is_refused_by_name(running: Running, raw: bytes, says: str) -> None:
    with running.client() as client:
        response = client.post("/v1/completions", content=raw)
    assert response.status_code == 400
    assert says in response.json()["error"]["message"]


def test_a_body_too_large_is_refused(running: Running) -> None:
    with running.client() as client:
        assert client.post("/v1/completions", content=b" " * (MAX_BODY_BYTES + 1)).status_code == 413


def test_state_and_metrics_tell_no_text(running: Running) -> None:
    running.post(max_tokens=50)
    with running.client() as client:
        assert client.get("/health").json()["status"] == "ok"
        assert client.get("/v1/models").json()["data"][0]["id"] == "tiny"
        assert client.get("/v1/completions").status_code == 405
        metrics = client.get("/metrics").text
    assert 'holefill_requests_total{finish="stop_token"} 1' in metrics
    assert "holefill_prompt_tokens_total 40" in metrics
    assert 'holefill_latency_milliseconds_bucket{le="+Inf"} 1' in metrics
    assert "hello" not in metrics


def test_while_loading_it_says_so(short_folder: Path) -> None:
    state, go = ServingState("slow"), threading.Event()
    with serving(state, [unix_listener(short_folder / "e.sock")], lambda: go.wait(10) and None):
        backend = HttpBackend(uds=short_folder / "e.sock")
        state.progress = 0.25
        health = backend.health()
        assert (health.ready, health.own, health.progress) == (False, True, 0.25)
        with pytest.raises(UnreachableError, match="still loading"):
            text_of(backend, GenerateRequest(PROMPT))
        go.set()


def test_a_failed_load_ends_the_server(short_folder: Path) -> None:
    def load() -> None:
        raise EngineError("no such weights")

    with pytest.raises(EngineError, match="no such weights"):
        run_server(ServingState("bad"), [unix_listener(short_folder / "e.sock")], load)


def test_it_exits_when_idle(byte_tokenizer: Tokenizer, scripted: Callable[..., Any], short_folder: Path) -> None:
    state = ServingState("tiny")
    ready = Engine(scripted(1, "a"), byte_tokenizer)
    listener = unix_listener(short_folder / "e.sock")
    run_server(state, [listener], lambda: state.ready(ready, byte_tokenizer), idle_minutes=0.3 / 60)


# Who may ask


def test_the_socket_is_private(running: Running) -> None:
    assert stat.S_IMODE(running.uds.stat().st_mode) == 0o600
    assert stat.S_IMODE(running.uds.parent.stat().st_mode) == 0o700


def test_a_folder_others_can_enter_is_refused(short_folder: Path) -> None:
    (short_folder / "open").mkdir(mode=0o755)
    os.chmod(short_folder / "open", 0o755)
    with pytest.raises(EngineError, match="0700"):
        unix_listener(short_folder / "open" / "e.sock")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, 200),
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": f"Bearer {TOKEN}", "origin": "http://localhost:3000"}, 403),
        ({"authorization": f"Bearer {TOKEN}", "host": "evil.example:80"}, 403),
        ({"authorization": f"Bearer {TOKEN}", "host": "localhost:1234"}, 200),
    ],
)
def test_tcp_needs_the_token_and_serves_no_web_page(running: Running, headers: dict[str, str], status: int) -> None:
    for path in ("/v1/models", "/metrics"):
        assert httpx.get(f"http://127.0.0.1:{running.port}{path}", headers=headers).status_code == status
    body = {"prompt": [1], "max_tokens": 1}
    url = f"http://127.0.0.1:{running.port}/v1/completions"
    assert httpx.post(url, headers=headers, json=body).status_code == status


def test_the_unix_socket_serves_no_web_page_either(running: Running) -> None:
    with running.client(origin="null") as client:
        assert client.get("/v1/models").status_code == 403


# Stopping


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


# The client


def test_the_client_gives_what_the_engine_gives(running: Running) -> None:
    backend = HttpBackend(uds=running.uds)
    requests = [
        GenerateRequest(PROMPT),
        GenerateRequest(PROMPT, max_tokens=3, stop=StopSpec(Shape.LINE, 4, ("x", "y"), ")]", "//")),
        GenerateRequest(
            PROMPT, sampling=Sampling(0.5, 0.9, 5, 3), deadline_ms=5000, background=True, draft_texts=("a",)
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
            return lambda: read.append(path) or texts[path]

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
            at, started = len(running.target.forwards), time.monotonic()
            cancel.cancel()
    assert chunks[-1].finish is FinishReason.CANCELLED
    assert time.monotonic() - started < 1
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
    assert "".join(chunk.text for chunk in chunks).startswith("ab")


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
        with pytest.raises(EngineError, match="as text only"):
            text_of(backend, GenerateRequest(PROMPT))


# The launcher


@pytest.fixture
def launched(
    tiny_folder: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., LocalEngine]]:
    """Starts real engine processes on a tiny model, and ends them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started: list[LocalEngine] = []

    def launch(model: str = str(tiny_folder), **options: Any) -> LocalEngine:
        started.append(LocalEngine(LaunchOptions(model, device="cpu", runtime_dir=short_folder / "run", **options)))
        return started[-1]

    yield launch
    for engine in started:
        for pid in pids(engine.socket):
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda engine=engine: not pids(engine.socket))  # type: ignore[misc]


def pids(path: Path) -> list[int]:
    """Engine processes that were given this socket."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and str(path).encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def test_one_engine_is_started_shared_and_restarted(launched: Callable[..., LocalEngine]) -> None:
    first, second = launched(), launched()
    request = GenerateRequest((1, 2, 3), max_tokens=3)
    threads = [threading.Thread(target=engine.ensure) for engine in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = {text_of(first, request), text_of(second, request)}
    (pid,) = pids(first.socket)
    assert stat.S_IMODE(first.socket.stat().st_mode) == 0o600
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not pids(first.socket))
    assert {text_of(second, request)} == answers, "a dead engine is replaced without the caller noticing"
    assert pids(first.socket) != [pid]


def test_a_cancelled_request_does_not_wait_for_the_start(short_folder: Path) -> None:
    engine, cancel = LocalEngine(LaunchOptions("any", runtime_dir=short_folder)), CancelToken()
    threading.Timer(0.2, cancel.cancel).start()
    with FileLock(f"{engine.socket}.start"), pytest.raises(EngineError, match="still starting"):  # another window's
        list(engine.generate(GenerateRequest(PROMPT), cancel))


def test_an_engine_that_cannot_start_says_why(launched: Callable[..., LocalEngine], tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\3\0\0\0")
    for model, says in ((str(tmp_path / "cut.gguf"), r"cut\.gguf"), ("no-such-model", "no-such-model")):
        with pytest.raises(EngineError, match=rf"could not start: .*{says}"):
            launched(model).ensure()


# The command


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "127.0.0.1:0"], "needs --token-file"),
        (["--listen", "8012", "--token-file", "t"], "HOST:PORT"),
        (["--listen", "127.0.0.1:0", "--token-file", "none"], "cannot read"),
        (["--token-file", "none"], "for --listen"),
        (["--model", "no-such-model"], "no-such-model"),
    ],
)
def test_wrong_options_are_explained(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(engine_command, [*arguments])
    assert result.exit_code != 0
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_short_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    result = CliRunner().invoke(engine_command, ["--listen", "127.0.0.1:0", "--token-file", str(tmp_path / "token")])
    assert "16 or more" in result.output
