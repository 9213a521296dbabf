"""The engine over HTTP: answers, refusals, and who may ask."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import httpx
import pytest

from holefill.model.cancel import CancelToken
from holefill.model.engine import Engine
from holefill.model.errors import EngineError
from holefill.model.request import GenerateRequest
from holefill.model.serving.app import ServingState
from holefill.model.serving.client import HttpBackend, UnreachableError
from holefill.model.serving.protocol import MAX_BODY_BYTES
from holefill.model.serving.server import run_server, unix_listener
from holefill.model.tokenizer import Tokenizer
from tests.model.conftest import MakeScripted
from tests.model.serving.conftest import PROMPT, TOKEN, Running, serving, text_of


def test_work_ahead_over_http_keeps_rows_teaches_drafts_and_is_no_request(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []
    monkeypatch.setattr(running.speculator, "learn", lambda ids, logits: learned.extend(ids))
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
    with serving(state, [unix_listener(short_folder / "e.sock")], lambda: go.wait(10)):
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


def test_it_exits_when_idle(byte_tokenizer: Tokenizer, scripted: MakeScripted, short_folder: Path) -> None:
    state = ServingState("tiny")
    ready = Engine(scripted(1, "a"), byte_tokenizer)
    listener = unix_listener(short_folder / "e.sock")
    run_server(state, [listener], lambda: state.ready(ready, byte_tokenizer), idle_minutes=0.3 / 60)


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
