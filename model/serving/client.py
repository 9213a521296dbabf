"""``Backend`` over HTTP: our engine on a Unix socket or an address, or any OpenAI-compatible server; no torch."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError
from holefill.model.repository import RepositoryReply, RepositoryUpdate
from holefill.model.request import Chunk, FinishReason, GenerateRequest, Timing
from holefill.model.serving.protocol import dump_request, load_chunk
from holefill.model.serving.repository_protocol import LOOPBACK_HOSTS, PATH, dump, load_reply
from holefill.model.stops import StopRule

CONNECT_S, HEALTH_S = 5.0, 5.0
READ_S = 120.0  # between two events: a cold prefill of a long prompt on a slow machine
DEADLINE_SLACK_MS = 250.0  # the server keeps the deadline itself; this is for one that does not
HEALING_PROTOCOL = 2
KEEP_ALIVE_S = 4.0  # below the 5 s at which uvicorn servers close an idle connection


class UnreachableError(EngineError):
    """Nothing answers there (any more); no part of the answer was received."""


@dataclass(frozen=True, slots=True)
class Health:
    ready: bool
    own: bool
    """The server knows our fields."""
    model: str = ""
    progress: float = 1.0
    protocol: int = 0


class HttpBackend:
    """Safe to use from several threads."""

    def __init__(self, url: str | None = None, *, uds: Path | None = None, token: str | None = None) -> None:
        """Either ``url`` (``http://host:port``, with or without ``/v1``) or the path of a Unix socket."""
        if (url is None) == (uds is None):
            raise ValueError("give a url or a Unix socket")
        self._where = str(uds) if uds is not None else str(url)
        base = _base_url(url)
        self._local = uds is not None or base.host in LOOPBACK_HOSTS
        transport = httpx.HTTPTransport(
            uds=None if uds is None else str(uds),
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_S),
        )
        self._client = httpx.Client(
            base_url=base,
            transport=transport,
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
        )
        self._health: Health | None = None
        self._model = ""

    @property
    def model_name(self) -> str:
        if not self._model:
            with contextlib.suppress(EngineError):
                self._model = self.health().model or self._first_model()
        return self._model

    def close(self) -> None:
        self._client.close()

    def health(self) -> Health:
        """Raises ``UnreachableError``. A server without ``/health`` that answers at all counts as ready."""
        try:
            response = self._client.get("/health", timeout=HEALTH_S)
        except (httpx.HTTPError, OSError) as error:
            raise UnreachableError(self._unreachable(error)) from error
        try:
            data = response.json()
        except ValueError:
            data = {}
        if not isinstance(data, dict) or "holefill" not in data:
            return Health(ready=response.status_code != 503, own=False)
        return Health(
            data.get("status") == "ok",
            True,
            str(data.get("model", "")),
            float(data.get("progress", 0.0)),
            int(data["holefill"]),
        )

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        own = self._is_own()
        if not own and not request.prompt_text:
            raise EngineError(f"{self._where} takes prompts as text only, and this request has none")
        body = dump_request(request, self.model_name, own=own)
        with _Abort(cancel, request.deadline_ms) as abort:
            events = self._events(body, abort)
            yield from _own_chunks(events, abort) if own else _foreign_chunks(events, request, abort)

    @property
    def heals(self) -> bool:
        try:
            return self._is_own() and self._health is not None and self._health.protocol >= HEALING_PROTOCOL
        except UnreachableError:
            return False

    @property
    def constrains(self) -> bool:
        """Asks nobody: until the first answer it is not known, and nothing was shown either."""
        return self._health is None or self._health.own

    @property
    def warms(self) -> bool:
        return self.takes_repositories

    def warm(self, prompt_ids: Sequence[int], cancel: CancelToken | None = None) -> Timing:
        """An ordinary request of no tokens, marked as background work. Sent to our own engine on this machine only."""
        request = GenerateRequest(tuple(prompt_ids), max_tokens=0, background=True)
        timing: Timing | None = None
        if self.warms:
            for chunk in self.generate(request, cancel or CancelToken()):
                timing = chunk.timing or timing
        return timing or Timing()

    @property
    def takes_repositories(self) -> bool:
        """Our own engine on this machine; text is not sent anywhere else."""
        if not self._local:
            return False
        try:
            return self._is_own()
        except UnreachableError:
            return False

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        try:
            response = self._client.post(PATH, json=dump(update))
            if response.status_code != 200:
                raise EngineError(_message(response, self._where))
            return load_reply(response.json())
        except (httpx.HTTPError, OSError) as error:
            raise UnreachableError(self._unreachable(error)) from error
        except ValueError as error:
            raise EngineError(f"{self._where} takes no repositories: restart the engine") from error

    def _is_own(self) -> bool:
        """Asked until the server has once been ready; then remembered."""
        if self._health is None:
            health = self.health()
            if not health.ready:
                raise UnreachableError(f"the engine at {self._where} is still loading its model: ask again soon")
            self._health = health
        return self._health.own

    def _first_model(self) -> str:
        try:
            return str(self._client.get("/v1/models", timeout=HEALTH_S).json()["data"][0]["id"])
        except (httpx.HTTPError, OSError, ValueError, LookupError, TypeError):
            return ""

    def _events(self, body: dict[str, Any], abort: _Abort) -> Iterator[dict[str, Any]]:
        """The JSON of each event; ends early when aborted."""
        received = False
        try:
            if abort.reason() is not None:
                return
            with self._client.stream("POST", "/v1/completions", json=body) as response:
                abort.watch(response)
                if response.status_code != 200:
                    raise EngineError(_message(response, self._where))
                for line in response.iter_lines():
                    if line.startswith("data:") and (data := line[5:].strip()) != "[DONE]":
                        received = True
                        yield _parse_event(data, self._where)
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            if abort.reason() is not None:
                return
            self._health = None
            if not received:
                raise UnreachableError(self._unreachable(error)) from error
            raise EngineError(f"the engine at {self._where} stopped in the middle of an answer: ask again") from error

    def _unreachable(self, error: Exception) -> str:
        return f"no engine answers at {self._where} ({error}): is it running? start one with `holefill engine`"


def _base_url(url: str | None) -> httpx.URL:
    """Without ``/v1``, which every path here brings along."""
    if url is None:
        return httpx.URL("http://localhost")  # a Unix socket
    try:
        base = httpx.URL(url.rstrip("/").removesuffix("/v1"))
    except httpx.InvalidURL as error:
        raise EngineError(f"{url} is not a server address ({error}): use http://HOST:PORT") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise EngineError(f"{url} is not a server address: use http://HOST:PORT")
    return base


class _Abort:
    """Shuts the connection down when the request is cancelled or its deadline has long passed."""

    def __init__(self, cancel: CancelToken, deadline_ms: float | None) -> None:
        self._cancel = cancel
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._ended = False
        self._late = False
        self._timer: threading.Timer | None = None
        if deadline_ms is not None:
            self._timer = threading.Timer((deadline_ms + DEADLINE_SLACK_MS) / 1000, self._too_late)
            self._timer.daemon = True
        self._deadline = None if deadline_ms is None else time.monotonic() + deadline_ms / 1000

    def __enter__(self) -> _Abort:
        if self._timer is not None:
            self._timer.start()
        self._cancel.on_cancel(self._shut)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended = True
            self._socket = None
        if self._timer is not None:
            self._timer.cancel()

    def watch(self, response: httpx.Response) -> None:
        """From here on an abort closes this response's connection."""
        stream = response.extensions.get("network_stream")
        found = stream.get_extra_info("socket") if stream is not None else None
        with self._lock:
            self._socket = found
        if self.reason() is not None:
            self._shut()

    def reason(self) -> FinishReason | None:
        if self._cancel.is_set():
            return FinishReason.CANCELLED
        return FinishReason.DEADLINE if self._late else None

    def past_deadline(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _too_late(self) -> None:
        self._late = True
        self._shut()

    def _shut(self) -> None:
        with self._lock:
            if self._socket is not None and not self._ended:
                with contextlib.suppress(OSError):  # already closed by the other side
                    self._socket.shutdown(socket.SHUT_RDWR)


def _own_chunks(events: Iterator[dict[str, Any]], abort: _Abort) -> Iterator[Chunk]:
    finished = False
    for event in events:
        try:
            chunk = load_chunk(event)
        except (LookupError, TypeError, ValueError) as error:
            raise EngineError("the engine speaks another version of this protocol: restart it") from error
        finished = finished or chunk.finish is not None
        yield chunk  # and read on to the end of the stream: only then is the connection free for the next request
    if not finished:
        yield Chunk("", finish=_ended(abort), timing=Timing())


def _foreign_chunks(events: Iterator[dict[str, Any]], request: GenerateRequest, abort: _Abort) -> Iterator[Chunk]:
    """Any other server: our stop rule runs here, and ending the loop closes the connection, which stops the server."""
    rule, shown, tokens = StopRule(request.stop), 0, 0
    started = time.monotonic()
    finish: FinishReason | None = None
    for event in events:
        text, logprobs, finish = _read_choice(event)
        tokens += len(logprobs) or 1
        state = rule.feed(text)
        if finish is None:
            finish = state.done or (FinishReason.DEADLINE if abort.past_deadline() else None)
        if finish is not None:
            break
        yield Chunk(state.text[shown : max(shown, state.settled)], logprobs=logprobs)
        shown = max(shown, state.settled)
        logprobs = ()
    else:
        logprobs = ()
    state = rule.finish()
    timing = Timing(completion_tokens=tokens, forwards=tokens, decode_ms=(time.monotonic() - started) * 1000)
    reason = state.done or finish or _ended(abort)
    yield Chunk(state.text[shown:], logprobs=logprobs, finish=reason, timing=timing)


def _ended(abort: _Abort) -> FinishReason:
    if (reason := abort.reason()) is None:
        raise EngineError("the engine stopped in the middle of an answer: ask again")
    return reason


def _read_choice(event: dict[str, Any]) -> tuple[str, tuple[float, ...], FinishReason | None]:
    choices = event.get("choices") or [{}]  # a last event with only `usage` has none
    try:
        choice = choices[0]
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or ()
        finish = choice.get("finish_reason")
        reason = None if not finish else FinishReason.LENGTH if finish == "length" else FinishReason.STOP_TOKEN
        return choice.get("text") or "", tuple(float(value) for value in logprobs if value is not None), reason
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise EngineError("the server's answer is not an OpenAI completion: is --engine-url right?") from error


def _parse_event(data: str, where: str) -> dict[str, Any]:
    try:
        event = json.loads(data)
    except ValueError as error:
        raise EngineError(f"the server at {where} sent something that is not JSON: is --engine-url right?") from error
    if not isinstance(event, dict):
        raise EngineError(f"the server at {where} sent something that is not an event: is --engine-url right?")
    if isinstance(problem := event.get("error"), dict):
        raise EngineError(str(problem.get("message", "the engine failed")))
    return event


def _message(response: httpx.Response, where: str) -> str:
    try:
        text = json.loads(response.read())["error"]["message"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        text = f"HTTP {response.status_code}"
    return f"{where}: {text}"
