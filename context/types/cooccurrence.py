"""Which attributes stand after a receiver's name elsewhere: the best there is for untyped code, and it costs nothing.

Measured (100 holes each): true member among the first 20 of it alone 49 % in typed and 72 % in untyped repositories;
together with the checker 98 % and 83 %.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.provider import Deadline
from holefill.context.types.ranking import Observed

_ACCESS = re.compile(r"(?=(?<![\w$])([A-Za-z_$][\w$]*)(?:\(\))?\??\.([A-Za-z_$][\w$]*))")
"""Receiver and attribute; a lookahead, so that the middle of `a.b.c` counts as both."""
_MAX_FILES = 60


class Cooccurrence:
    """Attribute counts per receiver name and file, kept by content."""

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index
        self._files: dict[str, tuple[str, dict[str, Counter[str]]]] = {}
        self._pieces: dict[str, list[tuple[str, str]]] = {}

    def observed(self, path: str, text: str, receiver: str, deadline: Deadline) -> Observed:
        """``text`` is that of the file now, without the hole."""
        pairs = self._accesses(text)
        own = Counter(attribute for name, attribute in pairs if name == receiver)
        anywhere = Counter(attribute for _, attribute in pairs)
        return Observed(own, self._folder(path, receiver, deadline), anywhere)

    def _accesses(self, text: str) -> list[tuple[str, str]]:
        """Piece by piece: of a file that is being typed in, all but one were searched before."""
        known, found = self._pieces, {}
        pieces = text.split("\n\n")
        for piece in pieces:
            found[piece] = known[piece] if piece in known else _ACCESS.findall(piece)
        self._pieces = found
        return [pair for piece in pieces for pair in found[piece]]

    def _folder(self, path: str, receiver: str, deadline: Deadline) -> Counter[str]:
        relative = self._index.relative(path) or path
        folder = relative.rpartition("/")[0]
        total: Counter[str] = Counter()
        for other in self._beside(folder, relative):
            if deadline.expired():
                break
            record = self._index.record(other)
            if record is None:
                continue
            known = self._files.get(other)
            if known is None or known[0] != record.digest:
                known = self._files[other] = (record.digest, count_accesses(self._index.text(other) or ""))
            total.update(known[1].get(receiver, {}))
        return total

    def _beside(self, folder: str, relative: str) -> list[str]:
        within = f"{folder}/" if folder else ""
        paths = self._index.paths()
        found: list[str] = []
        for path in paths[bisect_left(paths, within) :]:
            if not path.startswith(within) or len(found) == _MAX_FILES:
                break
            if "/" not in path[len(within) :] and path != relative:
                found.append(path)
        return found


def count_accesses(text: str) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for match in _ACCESS.finditer(text):
        found.setdefault(match[1], Counter())[match[2]] += 1
    return found
