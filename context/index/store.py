"""File records on disk, so that a second start parses only what changed. Losing the store costs time, never facts."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from holefill.context.index.import_statements import Import, ImportedName
from holefill.context.index.records import FileRecord
from holefill.context.syntax.calls import Call
from holefill.context.syntax.definitions import Definition

_LOG = logging.getLogger(__name__)

SCHEMA_VERSION = 2
"""Raise it when a FileRecord's fields, a query in ``syntax/queries`` or the meaning of a kind changes."""
LOCK_WAIT_S = 2.0
"""For another window's server to end its transaction."""
_IN_USE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and the file state it was made from."""

    record: FileRecord
    size: int
    mtime_ns: int


class IndexStore:
    """One SQLite file per workspace root. Every failure is logged and answered with "nothing stored".

    A damaged file is deleted; one that is out of reach, locked for one, may be in use by another window and stays.
    """

    def __init__(self, cache_dir: Path, root: Path) -> None:
        name = hashlib.blake2b(os.fsencode(root), digest_size=12).hexdigest()
        self.path = cache_dir / f"index-{name}.sqlite"
        self._told = False

    def load(self) -> dict[str, Stored]:
        try:
            with closing(self._connect()) as connection:
                rows = connection.execute("SELECT path, size, mtime_ns, payload FROM files").fetchall()
            return {path: Stored(_record(path, payload), size, mtime) for path, size, mtime, payload in rows}
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError, IndexError, OSError) as error:
            self._failed(error)
            return {}

    def save(self, changed: Mapping[str, Stored], removed: Iterable[str]) -> None:
        rows = [(path, stored.size, stored.mtime_ns, _payload(stored.record)) for path, stored in changed.items()]
        try:
            with closing(self._connect()) as connection, connection:
                connection.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in removed])
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
        except (sqlite3.DatabaseError, OSError) as error:
            self._failed(error)

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=LOCK_WAIT_S)
        try:
            os.chmod(self.path, 0o600)
            if _version(connection) != SCHEMA_VERSION:
                connection.execute("BEGIN IMMEDIATE")  # waits while another window makes the table
                if _version(connection) != SCHEMA_VERSION:
                    connection.execute("DROP TABLE IF EXISTS files")
                    connection.execute(
                        "CREATE TABLE files (path TEXT PRIMARY KEY, size INT, mtime_ns INT, payload TEXT)"
                    )
                    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    def _failed(self, error: Exception) -> None:
        if _out_of_reach(error):
            self._out_of_use(error)
            return
        _LOG.warning("the stored index is damaged and is made anew: %s", error)
        try:
            self.path.unlink(missing_ok=True)
        except OSError as left:
            self._out_of_use(left)

    def _out_of_use(self, error: Exception) -> None:
        if self._told:
            return
        self._told = True
        _LOG.warning(
            "the stored index is not used (%s), so every start reads the folder anew: %s", error, self._advice(error)
        )

    def _advice(self, error: Exception) -> str:
        if isinstance(error, sqlite3.Error) and _code(error) in _IN_USE:
            return f"another process holds {self.path}; end it if it is not an editor of yours"
        return f"make {self.path.parent} a folder that you can write to, with space left and no folder {self.path.name}"


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _out_of_reach(error: Exception) -> bool:
    """The file may be whole: it is locked, in no folder, read-only. What is no table of ours is ``SQLITE_ERROR``."""
    return isinstance(error, OSError) or (
        isinstance(error, sqlite3.OperationalError) and _code(error) != sqlite3.SQLITE_ERROR
    )


def _code(error: sqlite3.Error) -> int:
    """The primary result code; the other bytes say more of it."""
    return error.sqlite_errorcode & 0xFF


def _payload(record: FileRecord) -> str:
    symbols = [astuple(symbol) for symbol in record.symbols]
    imports = [
        (known.module, [(name.name, name.local) for name in known.names], known.level, known.reexport)
        for known in record.imports
    ]
    edges = [astuple(edge) for edge in record.calls]
    fields = [record.language, record.digest, symbols, imports, record.default_export, record.config, edges]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace").decode()


def _record(path: str, payload: str) -> FileRecord:
    fields: list[Any] = json.loads(payload)
    language, digest, symbols, imports, default_export, config, edges = fields
    return FileRecord(
        path,
        language,
        digest,
        tuple(Definition(*symbol) for symbol in symbols),
        tuple(
            Import(module, tuple(ImportedName(*name) for name in names), level, reexport)
            for module, names, level, reexport in imports
        ),
        default_export,
        config,
        tuple(Call(*edge) for edge in edges),
    )
