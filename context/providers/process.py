"""What people wrote about this code: TODOs around the cursor, the last commits of the file, issues that name it.

"Studying the usage of contexts" (eight context types): *process* context. Nothing but the comments of the buffer is
read on the way to an answer: git and issue files are asked in the background and remembered for some minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import ByteOffset, Cursor, Item, Span
from holefill.context.provider import Deadline
from holefill.context.redaction import redact

_TODO = re.compile(r"(?:#|//|/\*|\*|--)\s*((?:TODO|FIXME|XXX|HACK)\b.*)")
_MAX_TODOS, _MAX_COMMITS, _MAX_ISSUES = 4, 5, 3
_ISSUE_FILES = ("TODO", "TODO.md", "TODO.txt", "ISSUES.md", "ISSUES.txt", "docs/TODO.md")
_ISSUE_FOLDERS = ("issues", ".issues", "docs/issues")
_MAX_ISSUE_FILES, _MAX_ISSUE_BYTES, _MAX_ISSUE_CHARS = 50, 100_000, 400
_GIT_S = 5.0
_FRESH_S = 300.0
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class _Told:
    """What git and the issue files say of one file, and when they were asked (monotonic)."""

    commits: tuple[str, ...]
    issues: tuple[tuple[str, str], ...]
    at: float


class ProcessProvider:
    """The first question about a file is answered without git; later ones with it."""

    name = "process"

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._asking: set[str] = set()
        self._lock = threading.Lock()

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        relative = self._index.relative(cursor.path)
        if budget_tokens <= 0 or relative is None:
            return []
        span = (Span(relative, ByteOffset(0), ByteOffset(0)),)
        items = [
            Item(text, self.name, span, (f"todo {text}",), 1.0 / (1 + rank))
            for rank, text in enumerate(_todos(cursor, relative))
        ]
        told = self._known(relative)
        if told.commits:
            text = "recent changes: " + "; ".join(told.commits)
            items.append(Item(redact(text), self.name, span, (f"commits {relative}",), 0.5))
        for path, text in told.issues:
            where = (Span(path, ByteOffset(0), ByteOffset(0)),)
            items.append(Item(redact(text), self.name, where, (f"issue {path}",), 0.4))
        return items

    def prepare(self, cursor: Cursor) -> None:
        relative = self._index.relative(cursor.path)
        if relative is not None:
            self._ask(relative)

    def _known(self, path: str) -> _Told:
        now = time.monotonic()
        with self._lock:
            told = self._told.get(path)
            stale = told is None or now - told.at > _FRESH_S
            if stale and path not in self._asking:
                self._asking.add(path)
                threading.Thread(target=self._ask, args=(path,), name="holefill-process", daemon=True).start()
        return told or _Told((), (), now)

    def _ask(self, path: str) -> None:
        told = _Told((), (), time.monotonic())
        try:
            told = _Told(commits(self._index.root, path), tuple(_issues(self._index.root, path)), time.monotonic())
        finally:
            with self._lock:
                self._asking.discard(path)
                self._told[path] = told
                self._told.move_to_end(path)
                if len(self._told) > _REMEMBERED:
                    self._told.popitem(last=False)


def _todos(cursor: Cursor, path: str) -> list[str]:
    """Nearest first."""
    found = [(abs(match.start() - cursor.offset), match[1].rstrip(" */")) for match in _TODO.finditer(cursor.text)]
    return [text for _, text in sorted(found)[:_MAX_TODOS]]


def commits(root: Path, path: str) -> tuple[str, ...]:
    """Subjects of the last commits of a file, newest first; none without git or outside of a repository.

    Settings by which a repository could make git run a program of its own are overruled.
    """
    command = ["git", "-C", str(root), "-c", "log.showSignature=false", "-c", "core.fsmonitor=false", "--no-pager"]
    command += ["log", f"-{_MAX_COMMITS}", "--no-merges", "--format=%s", "--no-show-signature", "--", path]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_GIT_S, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    lines = done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 0 else []
    return tuple(line.strip()[:100] for line in lines if line.strip())


def _issues(root: Path, path: str) -> Iterator[tuple[str, str]]:
    """Paragraphs of issue files that name the file or its module."""
    stem = path.rpartition("/")[2]
    named = re.compile(rf"(?<![\w.]){re.escape(stem)}(?!\w)|(?<![\w.]){re.escape(path)}(?!\w)")
    count = 0
    for file in _issue_files(root):
        try:
            text = file.read_bytes()[:_MAX_ISSUE_BYTES].decode("utf-8", "replace")
        except OSError:
            continue
        for paragraph in re.split(r"\n\s*\n", text):
            if named.search(paragraph):
                yield file.relative_to(root).as_posix(), " ".join(paragraph.split())[:_MAX_ISSUE_CHARS]
                count += 1
                if count >= _MAX_ISSUES:
                    return


def _issue_files(root: Path) -> list[Path]:
    found = [root / name for name in _ISSUE_FILES]
    for name in _ISSUE_FOLDERS:
        folder = root / name
        if folder.is_dir() and not folder.is_symlink():
            found.extend(sorted(folder.glob("*.md"))[:_MAX_ISSUE_FILES])
    return [file for file in found if file.is_file() and not file.is_symlink()]
