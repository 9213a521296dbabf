"""Workspace text → the engine, which drafts from it: a while after each change, on a thread of its own.

A file travels once, then only when it changed, without its secrets, and to an engine on this machine only.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial

from holefill.context.index.records import CONFIG
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.redaction import redact
from holefill.model.errors import EngineError
from holefill.model.repository import RepositoryBackend, SourceText, send_changes, send_repository
from holefill.model.request import Backend

log = logging.getLogger(__name__)

PAUSE_S = 2.0
"""Changes are gathered for this long: what the prompt holds is drafted from without it."""
_SKIPPED = frozenset({CONFIG, "text"})


class RepositoryLink:
    """Any thread may call any method; none of them waits."""

    def __init__(self, backend: Callable[[], Backend | None], pause_s: float = PAUSE_S) -> None:
        self._backend = backend
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._indexes: dict[WorkspaceIndex, None] = {}
        self._pending: dict[WorkspaceIndex, set[str] | None] = {}
        """Changed paths; None: the whole folder."""
        self._gone: set[str] = set()
        """Roots whose text the engine is to forget."""
        self._timer: threading.Timer | None = None
        self._stopped = False

    def changed(self, index: WorkspaceIndex, paths: Iterable[str] | None = None) -> None:
        """``paths`` of a folder announced before; None: the folder is new, or was read again."""
        with self._lock:
            self._indexes[index] = None
            self._gone.discard(str(index.root))
            known = self._pending.get(index, set())
            self._pending[index] = None if paths is None or known is None else known | set(paths)
            self._schedule()

    def removed(self, index: WorkspaceIndex) -> None:
        """Its folder is no longer one of the workspace."""
        with self._lock:
            self._indexes.pop(index, None)
            self._pending.pop(index, None)
            self._gone.add(str(index.root))
            self._schedule()

    def connected(self) -> None:
        """Another engine: it has nothing yet."""
        with self._lock:
            self._pending = dict.fromkeys(self._indexes)
            self._schedule()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._timer is not None:
                self._timer.cancel()

    def _schedule(self) -> None:
        if self._timer is None and not self._stopped and (self._pending or self._gone):
            self._timer = threading.Timer(self._pause_s, self._send)
            self._timer.daemon = True
            self._timer.start()

    def _send(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
            gone, self._gone = self._gone, set()
        backend: object = self._backend()
        try:
            if isinstance(backend, RepositoryBackend) and backend.takes_repositories:
                for root in gone:
                    send_repository(backend, root, ())
                for index, paths in pending.items():
                    send_index(backend, index, paths)
        except EngineError as error:  # drafts only: the next connection sends everything
            log.info("the repository could not be sent: %s", error)
        except Exception:  # the boundary of this thread
            log.exception("the repository could not be sent")
        with self._lock:
            self._timer = None
            self._schedule()


def send_index(backend: RepositoryBackend, index: WorkspaceIndex, paths: Iterable[str] | None = None) -> None:
    """All of a folder, or what became of ``paths``; returns when the engine has it. Raises ``EngineError``."""
    repository = str(index.root)
    if paths is not None:
        relative = {path for given in paths if (path := index.relative(given)) is not None}
        files = list(_files(index, relative))
        removed = sorted(path for path in relative if index.record(path) is None)
        if send_changes(backend, repository, files, removed):
            return
    send_repository(backend, repository, list(_files(index, index.paths())))


def _files(index: WorkspaceIndex, paths: Iterable[str]) -> Iterable[SourceText]:
    for path in paths:
        record = index.record(path)
        if record is not None and record.language not in _SKIPPED:
            yield SourceText(path, record.digest, partial(_read, index, path))


def _read(index: WorkspaceIndex, path: str) -> str | None:
    time.sleep(0.001)  # let the thread that answers a keystroke run
    text = index.text(path)
    return None if text is None else redact(text)
