"""The engine over HTTP: OpenAI-compatible ``/v1/completions``, plus ``/health``, ``/metrics`` and ``/v1/models``.

``/v1/repository`` takes text to draft from, from this machine only.

Headers leave before the prefill and a disconnect cancels within one step, so a client can give up at any moment.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError
from holefill.model.repository import RepositoryBackend
from holefill.model.request import Backend, Chunk, GenerateRequest
from holefill.model.serving.metrics import Metrics
from holefill.model.serving.protocol import (
    MAX_BODY_BYTES,
    PROTOCOL,
    BadRequestError,
    CompletionBody,
    dump_chunk,
    error_body,
    parse_body,
)
from holefill.model.serving.repository_protocol import MAX_BYTES, PATH, dump, load_update
from holefill.model.serving.stop_strings import StopStrings
from holefill.model.tokenizer import Tokenizer

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 64  # threads; a queue longer than that answers nobody in time


class ServingState:
    """The engine behind the routes: loading, ready or failed. Touched from the event loop only."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self.progress = 0.0
        self.metrics = Metrics()
        self.last_active = time.monotonic()
        self.threads = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="request")
        self.backend: Backend | None = None
        self.tokenizer: Tokenizer | None = None
        self.check: Callable[[GenerateRequest], None] = lambda request: None
        self.repositories: RepositoryBackend | None = None

    def ready(
        self,
        backend: Backend,
        tokenizer: Tokenizer,
        check: Callable[[GenerateRequest], None] | None = None,
        repositories: RepositoryBackend | None = None,
    ) -> None:
        self.backend, self.tokenizer = backend, tokenizer
        self.check = check or self.check
        self.repositories = repositories
        self.last_active = time.monotonic()

    def idle_seconds(self) -> float:
        return 0.0 if self.metrics.in_flight or self.backend is None else time.monotonic() - self.last_active


def create_app(state: ServingState) -> Starlette:
    async def health(_: Request) -> Response:
        ready = state.backend is not None
        body = {
            "status": "ok" if ready else "loading",
            "model": state.model_name,
            "progress": 1.0 if ready else round(state.progress, 3),
            "holefill": PROTOCOL,
        }
        return JSONResponse(body, 200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return PlainTextResponse(state.metrics.render(), media_type="text/plain; version=0.0.4")

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": state.model_name, "object": "model"}]})

    async def completions(request: Request) -> Response:
        state.last_active = time.monotonic()
        if state.backend is None or state.tokenizer is None:
            return _refuse(503, "the model is still loading: ask again when /health says ok", "loading")
        if state.metrics.in_flight >= MAX_IN_FLIGHT:
            return _refuse(503, "too many requests at once: ask again", "overloaded")
        try:
            body = parse_body(await _read(request, MAX_BODY_BYTES))
            generate = body.request(_prompt_ids(body, state.tokenizer))
            state.check(generate)
        except _TooLargeError:
            return _refuse(413, f"the body is larger than {MAX_BODY_BYTES} bytes", "invalid_request_error")
        except (BadRequestError, EngineError) as error:
            return _refuse(400, str(error), "invalid_request_error")
        return _Answering(state, state.backend, state.tokenizer, body, generate)

    async def repository(request: Request) -> Response:
        held = state.repositories
        if held is None or not held.takes_repositories:
            return _refuse(503, "the model is still loading, or does not draft", "loading")
        try:
            update = load_update(await _read(request, MAX_BYTES))
            reply = await asyncio.get_running_loop().run_in_executor(state.threads, held.sync_repository, update)
        except _TooLargeError:
            return _refuse(413, f"the body is larger than {MAX_BYTES} bytes: send fewer texts", "invalid_request_error")
        except (BadRequestError, EngineError) as error:
            return _refuse(400, str(error), "invalid_request_error")
        return JSONResponse(dump(reply))

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/metrics", metrics),
            Route("/v1/models", models),
            Route("/v1/completions", completions, methods=["POST"]),
            Route(PATH, repository, methods=["POST"]),
        ]
    )


class _TooLargeError(Exception):
    pass


def _refuse(status: int, message: str, kind: str) -> JSONResponse:
    return JSONResponse(error_body(message, kind), status)


async def _read(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise _TooLargeError
    return bytes(body)


def _prompt_ids(body: CompletionBody, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Text with a suffix is a hole; text alone may spell special tokens out, as other servers allow."""
    if not isinstance(body.prompt, str):
        return body.prompt
    start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    if body.suffix is None:
        return (*start, *tokenizer.encode_prompt(body.prompt))
    if (fim := tokenizer.fim_ids()) is None:
        raise BadRequestError("this model has no prefix–suffix–middle tokens: lay the prompt out yourself")
    prefix, suffix, middle = fim
    return (*start, prefix, *tokenizer.encode(body.prompt), suffix, *tokenizer.encode(body.suffix), middle)


class _Answering(Response):
    """Runs the request in a thread and sends what comes, as events or as one JSON body."""

    def __init__(
        self,
        state: ServingState,
        backend: Backend,
        tokenizer: Tokenizer,
        body: CompletionBody,
        generate: GenerateRequest,
    ) -> None:
        super().__init__()
        self._state = state
        self._backend = backend
        self._tokenizer = tokenizer
        self._body = body
        self._generate = generate
        self._id = f"cmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cancel = CancelToken()
        watcher = asyncio.create_task(_cancel_on_disconnect(receive, cancel))
        self._state.metrics.in_flight += 1
        try:
            if self._body.stream:
                await self._send_events(send, cancel)
            else:
                await (await self._whole(cancel))(scope, receive, send)
        except OSError:  # the client is gone; some servers say so on send
            pass
        finally:
            cancel.cancel()
            watcher.cancel()
            self._state.metrics.in_flight -= 1
            self._state.last_active = time.monotonic()

    async def _send_events(self, send: Send, cancel: CancelToken) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async for chunk in self._chunks(cancel):
                await _send_event(send, json.dumps(self._event(chunk)))
        except EngineError as error:
            await _send_event(send, json.dumps(error_body(str(error), "engine_error")))
        await _send_event(send, "[DONE]")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _whole(self, cancel: CancelToken) -> Response:
        try:
            chunks = [chunk async for chunk in self._chunks(cancel)]
        except EngineError as error:
            return _refuse(500, str(error), "engine_error")
        whole = replace(
            chunks[-1],
            text="".join(chunk.text for chunk in chunks),
            token_ids=tuple(id_ for chunk in chunks for id_ in chunk.token_ids),
            logprobs=tuple(logprob for chunk in chunks for logprob in chunk.logprobs),
        )
        return JSONResponse(self._event(whole))

    def _event(self, chunk: Chunk) -> dict[str, object]:
        tokens = [self._tokenizer.decode([id_]) for id_ in chunk.token_ids] if self._body.logprobs else None
        return dump_chunk(chunk, self._state.model_name, self._id, self._created, tokens)

    async def _chunks(self, cancel: CancelToken) -> AsyncIterator[Chunk]:
        stops = StopStrings(self._body.stop_strings)
        async for raw in _in_thread(self._state.threads, self._backend, self._generate, cancel):
            chunk = stops.filter(raw)
            if stops.hit:
                cancel.cancel()
            if chunk.finish is not None and chunk.timing is not None and not self._generate.background:
                self._state.metrics.record(chunk.finish, chunk.timing)
            yield chunk


async def _cancel_on_disconnect(receive: Receive, cancel: CancelToken) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    cancel.cancel()


async def _send_event(send: Send, data: str) -> None:
    await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})


async def _in_thread(
    threads: ThreadPoolExecutor, backend: Backend, request: GenerateRequest, cancel: CancelToken
) -> AsyncIterator[Chunk]:
    """The chunks of a blocking generator; the last item of the queue is its error or None."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Chunk | EngineError | None] = asyncio.Queue()

    def put(item: Chunk | EngineError | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def work() -> None:
        try:
            for chunk in backend.generate(request, cancel):
                put(chunk)
            put(None)
        except EngineError as error:
            put(error)
        except Exception as error:  # the request boundary: one bad request must not take the server down
            log.exception("a request failed")
            put(EngineError(f"the engine failed on this request ({type(error).__name__}): see its log"))

    threads.submit(work)
    while (item := await queue.get()) is not None:
        if isinstance(item, EngineError):
            raise item
        yield item
