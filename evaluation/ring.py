"""llama.vscode's context, to compare with: a ring of chunks from where the user has been, without regard to the hole.

There it is fed by opened and saved files, copied text and cursor jumps, takes random places of them, and forgets a
chunk that a new one repeats. A benchmark case has no session, so one is made up: the files that this file imports and
its neighbours in the folder were visited in random order, drawn by the place of the hole, the file itself last.
"""

from __future__ import annotations

import random
import textwrap
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import ByteOffset, Cursor, Item, Span
from holefill.context.provider import Deadline

CHUNKS, CHUNK_LINES = 16, 64
_SAME = 0.9
"""Jaccard similarity of the lines above which a new chunk takes the place of an old one."""
_SEEN_BEFORE, _SEEN_AFTER = 256, 64
"""Lines around the cursor that are in the request anyway: the file's own chunks lie beyond."""
_CHARS_PER_TOKEN, _TOKENS_PER_LINE, _TOKENS_PER_ITEM = 3, 2, 10


@dataclass(frozen=True, slots=True)
class Chunk:
    path: str
    first: int
    """Line, from 0."""
    lines: tuple[str, ...]

    def repeats(self, other: Chunk) -> bool:
        mine, theirs = set(self.lines), set(other.lines)
        return len(mine & theirs) > _SAME * len(mine | theirs)


class Ring:
    """The newest ``CHUNKS`` chunks, oldest first, none much like another."""

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = deque(maxlen=CHUNKS)

    def add(self, chunk: Chunk) -> None:
        for old in [old for old in self.chunks if chunk.repeats(old)]:
            self.chunks.remove(old)
        self.chunks.append(chunk)


class RingProvider:
    """A ``ContextProvider``: the newest chunks, each cut to the budget."""

    name = "ring"

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        ring = Ring()
        for chunk in self._visited(cursor):
            ring.add(chunk)
        return [
            Item(
                textwrap.dedent("\n".join(_fitting(chunk.lines, budget_tokens))),
                self.name,
                (Span(chunk.path, ByteOffset(0), ByteOffset(0)),),
                (f"{chunk.path}#{chunk.first}",),
                score=1.0 / (1 + age),
            )
            for age, chunk in enumerate(reversed(ring.chunks))
        ]

    def _visited(self, cursor: Cursor) -> Iterator[Chunk]:
        here = self._index.relative(cursor.path) or cursor.path
        draw = random.Random(f"{here}:{cursor.offset}")
        near = [path for path in self._near(cursor, here) if path != here]
        for path in draw.sample(near, min(len(near), CHUNKS)):
            lines = (self._index.text(path) or "").splitlines()
            if lines:
                yield _around(path, lines, draw.randrange(len(lines)))
        lines, line = cursor.text.splitlines(), cursor.text.count("\n", 0, cursor.offset)
        for beyond in (range(0, line - _SEEN_BEFORE), range(line + _SEEN_AFTER, len(lines))):
            if len(beyond):
                yield _around(here, lines, draw.choice(beyond), beyond)

    def _near(self, cursor: Cursor, here: str) -> list[str]:
        parsed = self._index.documents.repaired(cursor).parsed if self._index.reads(cursor) else None
        imported = () if parsed is None else self._index.imported(cursor.path, parsed)
        folder = PurePosixPath(here).parent
        beside = [path for path in self._index.paths() if PurePosixPath(path).parent == folder]
        return sorted({*(found.target.path for found in imported), *beside})


def _around(path: str, lines: list[str], line: int, within: range | None = None) -> Chunk:
    allowed = within or range(len(lines))
    first = max(allowed.start, min(line - CHUNK_LINES // 2, allowed.stop - CHUNK_LINES))
    return Chunk(path, first, tuple(lines[first : min(first + CHUNK_LINES, allowed.stop)]))


def _fitting(lines: tuple[str, ...], budget_tokens: int) -> list[str]:
    """The first lines, as many as the budget will take: a chunk too large for it would be dropped whole."""
    kept, left = [], budget_tokens - _TOKENS_PER_ITEM
    for line in lines:
        left -= len(line) // _CHARS_PER_TOKEN + _TOKENS_PER_LINE
        if left < 0:
            break
        kept.append(line)
    return kept
