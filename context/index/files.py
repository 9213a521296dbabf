"""Which files of a workspace folder are its source: ignore rules, size, binary and secret limits."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from holefill.context.index.records import is_indexable
from holefill.context.redaction import is_secret_file

_LOG = logging.getLogger(__name__)
_NEVER = frozenset({"node_modules", "__pycache__", "venv", "site-packages", "bower_components"})
_BINARY_PROBE = 8192


@dataclass(frozen=True, slots=True)
class FileRules:
    """``ignore`` holds extra globs in the syntax of ``.gitignore``."""

    ignore: tuple[str, ...] = ()
    max_bytes: int = 1_000_000
    max_files: int = 50_000


@dataclass(frozen=True, slots=True)
class SourceFile:
    path: str
    size: int
    mtime_ns: int


class Ignores:
    """The ``.gitignore`` files from the root down to a folder; the deepest one that speaks of a path decides."""

    def __init__(self, rules: FileRules) -> None:
        self._chain: tuple[tuple[str, GitIgnoreSpec], ...] = ()
        self._extra = GitIgnoreSpec.from_lines(rules.ignore)

    def inside(self, folder: str, gitignore: str | None) -> Ignores:
        """The rules in force inside ``folder`` (relative, ``""`` for the root)."""
        if gitignore is None:
            return self
        deeper = Ignores.__new__(Ignores)
        deeper._extra = self._extra
        deeper._chain = (
            *self._chain,
            (f"{folder}/" if folder else "", GitIgnoreSpec.from_lines(gitignore.splitlines())),
        )
        return deeper

    def ignored(self, path: str, is_folder: bool) -> bool:
        subject = f"{path}/" if is_folder else path
        if self._extra.match_file(subject):
            return True
        for base, spec in reversed(self._chain):
            verdict = spec.check_file(subject[len(base) :]).include
            if verdict is not None:
                return verdict
        return False


def walk(root: Path, rules: FileRules, stop: threading.Event | None = None) -> Iterator[SourceFile]:
    """Source files below ``root``. Links are not followed, so loops cannot happen; unreadable folders are left out.

    ``stop`` ends it early: a home folder can take minutes.
    """
    count = 0
    stack: list[tuple[str, Ignores]] = [("", Ignores(rules))]
    while stack and not (stop is not None and stop.is_set()):
        folder, ignores = stack.pop()
        try:
            entries = [entry for entry in os.scandir(root / folder) if _in_utf8(entry.name)]
        except OSError as error:
            _LOG.info("folder left out of the index: %s", error.strerror)
            continue
        ignores = ignores.inside(folder, _gitignore(root / folder))
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not skipped_folder(entry.name) and not ignores.ignored(path, is_folder=True):
                    stack.append((path, ignores))
            elif (found := _source(entry, path, rules)) is not None and not ignores.ignored(path, is_folder=False):
                yield found
                count += 1
                if count >= rules.max_files:
                    _LOG.warning("only the first %d files are indexed", rules.max_files)
                    return


def _in_utf8(name: str) -> bool:
    """Other names stay out: neither the stored index nor a message to the engine can hold them."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def skipped_folder(name: str) -> bool:
    return name.startswith(".") or name in _NEVER


def accepts(root: Path, path: str, rules: FileRules) -> bool:
    """Whether ``walk`` would yield ``path``, were it on disk at an acceptable size: the rule for one edited file."""
    if not is_indexable(path) or is_secret_file(path) or not _in_utf8(path):
        return False
    ignores, folder = Ignores(rules).inside("", _gitignore(root)), ""
    *folders, _ = path.split("/")
    for name in folders:
        folder = f"{folder}/{name}" if folder else name
        if skipped_folder(name) or ignores.ignored(folder, is_folder=True):
            return False
        ignores = ignores.inside(folder, _gitignore(root / folder))
    return not ignores.ignored(path, is_folder=False)


def read_source(root: Path, path: str, rules: FileRules) -> str | None:
    """The file's text, or None when it is gone, too large or binary. Invalid UTF-8 is read with replacements."""
    try:
        with open(root / path, "rb") as file:
            data = file.read(rules.max_bytes + 1)
    except OSError:
        return None
    if len(data) > rules.max_bytes or b"\0" in data[:_BINARY_PROBE]:
        return None
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def _source(entry: os.DirEntry[str], path: str, rules: FileRules) -> SourceFile | None:
    if not is_indexable(path) or is_secret_file(path) or not entry.is_file(follow_symlinks=False):
        return None
    try:
        stat = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return SourceFile(path, stat.st_size, stat.st_mtime_ns) if stat.st_size <= rules.max_bytes else None


def _gitignore(folder: Path) -> str | None:
    try:
        return (folder / ".gitignore").read_text("utf-8", "replace")
    except OSError:
        return None
