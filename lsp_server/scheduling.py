"""When a request runs: after a pause in typing, the newest of its document only, and with an answer by the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from holefill.model.cancel import CancelToken

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    debounce_ms: float = 0.0
    reply_ms: float | None = None
    """Reply with nothing by then. The work goes on, for the cache, until the next request of its document."""


class Scheduler(Generic[T]):
    """Lives on the event loop. ``run`` is cancelled by the client's $/cancelRequest, which stops the work at once."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._newest: dict[str, CancelToken] = {}

    async def run(self, document: str, work: Callable[[CancelToken], T], patience: Patience) -> T | None:
        """The result of ``work``; None when a newer request came first or the reply is due."""
        token = CancelToken()
        self.cancel(document)
        self._newest[document] = token
        try:
            await asyncio.sleep(patience.debounce_ms / 1000)
            if token.is_set():
                return None
            return await self._in_thread(document, work, token, patience.reply_ms)
        except asyncio.CancelledError:
            token.cancel()
            raise

    def cancel(self, document: str) -> None:
        """Stop the document's request: a newer one came, or the document was closed."""
        token = self._newest.pop(document, None)
        if token is not None:
            token.cancel()

    def cancel_all(self) -> None:
        for document in tuple(self._newest):
            self.cancel(document)

    async def _in_thread(
        self, document: str, work: Callable[[CancelToken], T], token: CancelToken, reply_ms: float | None
    ) -> T | None:
        job = self._executor.submit(work, token)
        job.add_done_callback(_raise_nothing)
        loop = asyncio.get_running_loop()
        superseded: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            loop.call_soon_threadsafe(_resolve, superseded)

        token.on_cancel(wake)
        finished: asyncio.Future[T] = asyncio.wrap_future(job)
        waiting: set[asyncio.Future[T] | asyncio.Future[None]] = {finished, superseded}
        timeout = None if reply_ms is None else reply_ms / 1000
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not finished.done():
            return None
        if self._newest.get(document) is token:
            del self._newest[document]
        return finished.result()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _raise_nothing(job: Future[T]) -> None:
    """Marks the exception of a job nobody waits for any more as seen."""
    if not job.cancelled():
        job.exception()
