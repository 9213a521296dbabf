"""Work-done progress of indexing: what an editor shows while a large folder is read for the first time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol

from lsprotocol import types

log = logging.getLogger(__name__)

SHOWN_AFTER_S = 0.4
"""Indexing that is done sooner, as at every warm start, is nothing to tell."""
EVERY_S = 0.2


class Progress(Protocol):
    """``pygls.progress.Progress``, as far as it is used."""

    @property
    def tokens(self) -> Collection[types.ProgressToken]:
        """Those that the editor knows."""

    async def create_async(self, token: types.ProgressToken) -> object: ...
    def begin(self, token: types.ProgressToken, value: types.WorkDoneProgressBegin) -> None: ...
    def report(self, token: types.ProgressToken, value: types.WorkDoneProgressReport) -> None: ...
    def end(self, token: types.ProgressToken, value: types.WorkDoneProgressEnd) -> None: ...


class ShowsProgress(Protocol):
    """The editor, as ``HolefillServer`` knows it."""

    @property
    def client_capabilities(self) -> types.ClientCapabilities: ...
    @property
    def work_done_progress(self) -> Progress: ...


@dataclass(slots=True)
class _Run:
    began: float
    told: float = 0.0
    token: str = ""


class IndexProgress:
    """Called from the background thread with (root, files done, files in all); speaks on the event loop."""

    def __init__(
        self,
        server: ShowsProgress,
        on_loop: Callable[[Callable[[], object]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._on_loop = on_loop
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._open: set[str] = set()
        """Tokens that the editor shows, kept on the event loop."""
        self._count = 0

    def __call__(self, root: str, done: int, total: int) -> None:
        now = self._clock()
        run = self._runs.setdefault(root, _Run(now))
        if done >= total:
            del self._runs[root]
            log.info("indexed %d files", total)
            if run.token:
                self._on_loop(lambda: self._end(run.token, total))
        elif not run.token and now - run.began >= SHOWN_AFTER_S:
            self._count += 1
            run.token, run.told = f"holefill-index-{self._count}", now
            self._on_loop(lambda: asyncio.ensure_future(self._begin(run, root)))
        elif run.token and now - run.told >= EVERY_S:
            run.told = now
            self._on_loop(lambda: self._report(run.token, done, total))

    async def _begin(self, run: _Run, root: str) -> None:
        window = self._server.client_capabilities.window
        if window is None or not window.work_done_progress:
            return
        progress = self._server.work_done_progress
        self._open.add(run.token)
        try:
            await progress.create_async(run.token)
        except Exception:  # the boundary of the editor's answer: without a token there is no progress to show
            log.info("the editor shows no progress")
            self._open.discard(run.token)
            return
        title = f"holefill: indexing {PurePath(root).name}"
        progress.begin(run.token, types.WorkDoneProgressBegin(title=title, percentage=0, cancellable=False))
        if run.token not in self._open:  # it came to its end meanwhile
            progress.end(run.token, types.WorkDoneProgressEnd())

    def _report(self, token: str, done: int, total: int) -> None:
        if token in self._open and token in self._server.work_done_progress.tokens:
            value = types.WorkDoneProgressReport(message=f"{done} of {total} files", percentage=100 * done // total)
            self._server.work_done_progress.report(token, value)

    def _end(self, token: str, total: int) -> None:
        if token in self._open:
            self._open.discard(token)
            if token in self._server.work_done_progress.tokens:
                self._server.work_done_progress.end(token, types.WorkDoneProgressEnd(message=f"{total} files"))
