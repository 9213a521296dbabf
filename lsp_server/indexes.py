"""One index per workspace folder, built and kept current on a background thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePath

from holefill.context.index.workspace import WorkspaceIndex

log = logging.getLogger(__name__)

EDIT_PAUSE_S = 0.3
"""An edited document is parsed again once typing rests this long; its own text is in the prompt anyway."""

Progress = Callable[[str, int, int], None]
"""Called with (root, files done, files in all), from the background thread."""
Removed = Callable[[WorkspaceIndex], None]
"""Called from the background thread when the folder of an index is no longer one of the workspace."""
Changed = Callable[[WorkspaceIndex, Iterable[str] | None], None]
"""Called from the background thread when these paths (None: any) of an index are current again."""


class Indexes:
    """Any thread may call any method; none of them waits for indexing."""

    def __init__(
        self,
        cache_dir: Path | None,
        progress: Progress | None = None,
        changed: Changed | None = None,
        removed: Removed | None = None,
    ) -> None:
        self._cache_dir = cache_dir
        self._progress = progress
        self._changed = changed or (lambda index, paths: None)
        self._removed = removed or (lambda index: None)
        self._indexes: dict[str, WorkspaceIndex] = {}
        self._stop = threading.Event()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="holefill-index")
        self._edits: dict[str, str] = {}
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def set_roots(self, roots: Iterable[str]) -> None:
        wanted = set(roots)
        for root in tuple(self._indexes):
            if root not in wanted:
                self._submit(partial(self._removed, self._indexes.pop(root)))
        for root in wanted - self._indexes.keys():
            index = WorkspaceIndex(root, self._cache_dir)
            self._indexes[root] = index
            self._submit(partial(self._build, index))

    def of(self, root: str | None) -> WorkspaceIndex | None:
        return None if root is None else self._indexes.get(root)

    def edited(self, path: str, text: str) -> None:
        with self._lock:
            self._edits[path] = text
            if self._timer is None and not self._stop.is_set():
                self._timer = threading.Timer(EDIT_PAUSE_S, self._flush)
                self._timer.daemon = True
                self._timer.start()

    def closed(self, path: str) -> None:
        with self._lock:
            self._edits.pop(path, None)
        for index in self._holding(path):
            self._submit(partial(index.release, path), partial(self._changed, index, [path]))

    def changed_on_disk(self, paths: Iterable[str]) -> None:
        for path in paths:
            for index in self._holding(path):
                self._submit(partial(index.reload, [path]), partial(self._changed, index, [path]))

    def stop(self) -> None:
        self._stop.set()
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _build(self, index: WorkspaceIndex) -> None:
        index.open()
        root = str(index.root)
        tell = self._progress
        index.refresh(None if tell is None else lambda done, total: tell(root, done, total), self._stop)
        self._changed(index, None)

    def _flush(self) -> None:
        with self._lock:
            edits, self._edits, self._timer = self._edits, {}, None
        for path, text in edits.items():
            for index in self._holding(path):
                self._submit(partial(index.update, path, text), partial(self._changed, index, [path]))

    def _holding(self, path: str) -> list[WorkspaceIndex]:
        return [index for root, index in tuple(self._indexes.items()) if PurePath(path).is_relative_to(root)]

    def _submit(self, *work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                for step in work:
                    step()
            except Exception:  # the boundary of this thread: a folder that cannot be indexed must not end indexing
                log.exception("indexing failed")

        if not self._stop.is_set():
            self._worker.submit(guarded)
