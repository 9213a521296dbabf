"""The index of one workspace folder: kept current by edits and file events, read from any thread."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from holefill.context.index.edits import EditLog
from holefill.context.index.files import FileRules, SourceFile, accepts, read_source, walk
from holefill.context.index.import_statements import import_statements
from holefill.context.index.imports import ImportResolver, Resolved
from holefill.context.index.module_paths import ModulePaths
from holefill.context.index.records import CONFIG, Caller, FileRecord, Located, analyse, digest, is_config
from holefill.context.index.store import IndexStore, Stored
from holefill.context.items import Cursor
from holefill.context.syntax.documents import Documents
from holefill.context.syntax.languages import LANGUAGES, language_of
from holefill.context.syntax.parsing import Parsed

Progress = Callable[[int, int], None]
"""Called with (files done, files in all)."""
_PAUSE_EVERY_S = 0.02
_OVERLAY = -1
"""``Stored.size`` of a record made from an editor's text: never equal to a file's, so never written nor trusted."""


class WorkspaceIndex:
    """Symbols, imports and call edges of every source file below ``root``. All methods may be called from any thread.

    ``open`` reads the store, ``refresh`` compares with the disk, ``update`` takes the text of an edited document, which
    stands above the disk until ``release``. Readers see a consistent state between two changes, never half of one.
    """

    def __init__(self, root: str | Path, cache_dir: Path | None = None, rules: FileRules | None = None) -> None:
        self.root = Path(os.path.abspath(root))
        self.rules = rules or FileRules()
        self._store = None if cache_dir is None else IndexStore(cache_dir, self.root)
        self._lock = threading.RLock()
        self._refreshing = threading.Lock()
        self._stored: dict[str, Stored] = {}
        self._records: dict[str, FileRecord] = {}
        self._by_name: dict[str, set[str]] = {}
        self._by_callee: dict[str, set[str]] = {}
        self._by_import: dict[str, set[str]] = {}
        self._sorted: tuple[str, ...] | None = None
        self._overlays: dict[str, str] = {}
        self.edits = EditLog()
        self.documents = Documents()
        self._modules: ModulePaths | None = None
        self._resolves: tuple[int, ImportResolver] | None = None
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Grows with every change; equal epochs mean equal answers."""
        return self._epoch

    def open(self) -> None:
        """Load what was stored, so that answers are there before the first ``refresh`` is done."""
        if self._store is None:
            return
        loaded = self._store.load()
        with self._lock:
            for path, stored in loaded.items():
                if path not in self._records:
                    self._put(path, stored)

    def refresh(self, progress: Progress | None = None, stop: threading.Event | None = None) -> None:
        """Make the index equal to the disk; parses only files whose size or time changed. ``stop`` ends it early."""
        with self._refreshing:
            sources = {source.path: source for source in walk(self.root, self.rules, stop)}
            if stop is not None and stop.is_set():
                return
            changed, rested = {}, time.monotonic()
            for done, source in enumerate(sources.values(), start=1):
                if stop is not None and stop.is_set():
                    break
                stored = self._read_if_changed(source)
                if stored is not None:
                    changed[source.path] = stored
                if progress is not None:
                    progress(done, len(sources))
                if time.monotonic() - rested > _PAUSE_EVERY_S:
                    time.sleep(0.001)  # let the thread that answers a keystroke run
                    rested = time.monotonic()
            removed = self._drop_missing(sources)
            if self._store is not None and (changed or removed):
                self._store.save(changed, removed)

    def update(self, path: str, text: str | None) -> None:
        """An editor's text of a file, saved or not; None: the file is gone. Ignored and secret files are not taken."""
        relative = self.relative(path)
        if relative is None or (text is not None and not accepts(self.root, relative, self.rules)):
            return
        if text is None:
            with self._lock:
                self._overlays.pop(relative, None)
                self._remove(relative)
            return
        with self._lock:
            known = self._records.get(relative)
            before = self._overlays.get(relative)
            self._overlays[relative] = text
        if before is not None and len(text) <= self.rules.max_bytes:
            self.edits.observe(relative, before, text)
        if len(text) > self.rules.max_bytes:
            record = FileRecord(relative, "text", digest(text))
        elif known is not None and known.digest == digest(text):
            record = known
        else:
            record = analyse(relative, text, self._parsed(path, relative, text))
        with self._lock:
            if self._overlays.get(relative) is text:  # else a newer text, or a deletion, came in between
                self._put(relative, Stored(record, _OVERLAY, _OVERLAY))

    def _parsed(self, path: str, relative: str, text: str) -> Parsed | None:
        language = language_of(relative)
        known = language in LANGUAGES and not is_config(relative)
        return self.documents.changed(path, language, text) if known else None

    def release(self, path: str) -> None:
        """The editor closed the document: the disk counts again."""
        relative = self.relative(path)
        if relative is not None:
            with self._lock:
                self._overlays.pop(relative, None)
            self.reload([relative])

    def reload(self, paths: Iterable[str]) -> None:
        """File events: read these again from disk (deleted ones leave the index)."""
        for path in paths:
            relative = self.relative(path)
            if relative is None or relative in self._overlays:
                continue
            text = read_source(self.root, relative, self.rules) if accepts(self.root, relative, self.rules) else None
            with self._lock:
                if text is None:
                    self._remove(relative)
                else:
                    self._put(relative, Stored(analyse(relative, text), *self._state(relative)))

    def reads(self, cursor: Cursor) -> bool:
        """Whether the buffer is of a language that is parsed, and not too large for it."""
        return cursor.language in LANGUAGES and len(cursor.text) <= self.rules.max_bytes

    def relative(self, path: str) -> str | None:
        """The workspace-relative POSIX form of a path, or None when it lies outside."""
        if path in self._records:
            return path
        if not os.path.isabs(path):
            return Path(path).as_posix()
        try:
            return Path(path).relative_to(self.root).as_posix()
        except ValueError:
            return None

    def paths(self) -> tuple[str, ...]:
        with self._lock:
            if self._sorted is None:
                self._sorted = tuple(sorted(self._records))
            return self._sorted

    def record(self, path: str) -> FileRecord | None:
        relative = self.relative(path)
        return None if relative is None else self._records.get(relative)

    def find(self, name: str) -> tuple[Located, ...]:
        """Every definition called ``name`` in the workspace, in path order."""
        with self._lock:
            records = [self._records[path] for path in sorted(self._by_name.get(name, ()))]
        return tuple(
            Located(record.path, symbol) for record in records for symbol in record.symbols if symbol.name == name
        )

    def importers(self, name: str) -> tuple[FileRecord, ...]:
        """Files whose imports bind ``name``, in path order."""
        with self._lock:
            return tuple(self._records[path] for path in sorted(self._by_import.get(name, ())))

    def callers(self, located: Located) -> tuple[Caller, ...]:
        """Who calls a function, method or class, in path order.

        Edges are by name: a call counts from the definition's own file and from files that import its file, and from
        anywhere when nothing else in the workspace has the name.
        """
        if located.symbol is None:
            return ()
        name = located.symbol.name
        with self._lock:
            paths = sorted(self._by_callee.get(name, ()))
            records = [self._records[path] for path in paths]
        only = len(self.find(name)) == 1
        return tuple(
            Caller(record.path, edge.caller, edge.line)
            for record in records
            if only or record.path == located.path or located.path in self._resolver().modules_of(record)
            for edge in record.calls
            if edge.callee == name
        )

    def callees(self, path: str, caller: str) -> tuple[str, ...]:
        """Names that a function (by qualified name; empty: the module) calls, in order."""
        record = self.record(path)
        return () if record is None else tuple(edge.callee for edge in record.calls if edge.caller == caller)

    def members(self, located: Located) -> tuple[Located, ...]:
        """Methods and fields of a class, or the top-level definitions of a module."""
        record = self._records.get(located.path)
        if record is None:
            return ()
        parent = "" if located.symbol is None else located.symbol.qualified
        return tuple(Located(record.path, symbol) for symbol in record.symbols if symbol.parent == parent)

    def imported(self, path: str, parsed: Parsed | None = None) -> tuple[Resolved, ...]:
        """What the imports of a file bring in from the workspace; ``parsed``: its text now, if not yet indexed."""
        relative = self.relative(path)
        if relative is None:
            return ()
        record = self._records.get(relative)
        if parsed is not None:
            record = FileRecord(relative, parsed.language, "", imports=import_statements(parsed))
        return () if record is None else self._resolver().resolve(record)

    def imported_files(self, path: str) -> tuple[str, ...]:
        record = self.record(path)
        return () if record is None else self._resolver().modules_of(record)

    def text(self, path: str) -> str | None:
        """The text the record was made from: the editor's, else the disk's."""
        relative = self.relative(path)
        if relative is None or relative not in self._records:
            return None
        overlay = self._overlays.get(relative)
        return read_source(self.root, relative, self.rules) if overlay is None else overlay

    def _resolver(self) -> ImportResolver:
        """Of the state there is now: one for all questions until the next change."""
        with self._lock:
            known = self._resolves
            if known is None or known[0] != self._epoch:
                records = dict(self._records)
                self._modules = self._modules or ModulePaths(records)
                known = self._resolves = (self._epoch, ImportResolver(records, self._modules))
            return known[1]

    def _read_if_changed(self, source: SourceFile) -> Stored | None:
        with self._lock:
            if source.path in self._overlays:
                return None
            known = self._stored.get(source.path)
        if known is not None and (known.size, known.mtime_ns) == (source.size, source.mtime_ns):
            return None
        text = read_source(self.root, source.path, self.rules)
        if text is None:
            with self._lock:
                self._remove(source.path)
            return None
        record = known.record if known is not None and known.record.digest == digest(text) else None
        stored = Stored(record or analyse(source.path, text), source.size, source.mtime_ns)
        with self._lock:
            if source.path in self._overlays:
                return None
            self._put(source.path, stored)
        return stored

    def _drop_missing(self, sources: dict[str, SourceFile]) -> tuple[str, ...]:
        with self._lock:
            gone = tuple(path for path in self._records if path not in sources and path not in self._overlays)
            for path in gone:
                self._remove(path)
        return gone

    def _state(self, path: str) -> tuple[int, int]:
        try:
            stat = os.stat(self.root / path)
        except OSError:
            return _OVERLAY, _OVERLAY
        return stat.st_size, stat.st_mtime_ns

    def _put(self, path: str, stored: Stored) -> None:
        old = self._records.get(path)
        if old is not stored.record:
            if old is None or CONFIG in (old.language, stored.record.language):
                self._modules = None
            if old is None:
                self._sorted = None
            self._unname(path)
            self._records[path] = stored.record
            for symbol in stored.record.symbols:
                self._by_name.setdefault(symbol.name, set()).add(path)
            for edge in stored.record.calls:
                self._by_callee.setdefault(edge.callee, set()).add(path)
            for name in _bound_names(stored.record):
                self._by_import.setdefault(name, set()).add(path)
            self._epoch += 1
        self._stored[path] = stored

    def _remove(self, path: str) -> None:
        if path in self._records:
            self._unname(path)
            del self._records[path]
            self._modules = self._sorted = None
            self._epoch += 1
        self._stored.pop(path, None)

    def _unname(self, path: str) -> None:
        old = self._records.get(path)
        if old is not None:
            _forget(self._by_name, {symbol.name for symbol in old.symbols}, path)
            _forget(self._by_callee, {edge.callee for edge in old.calls}, path)
            _forget(self._by_import, _bound_names(old), path)


def _bound_names(record: FileRecord) -> set[str]:
    return {one.local for statement in record.imports for one in statement.names}


def _forget(table: dict[str, set[str]], names: set[str], path: str) -> None:
    for name in names:
        paths = table.get(name, set())
        paths.discard(path)
        if not paths:
            table.pop(name, None)
