"""Which attributes stand after a receiver's name elsewhere: the best there is for untyped code, and it costs nothing.

Measured (100 holes each): true member among the first 20 of it alone 49 % in typed and 72 % in untyped repositories;
together with the checker 98 % and 83 %.
"""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left
from collections import Counter

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.provider import Deadline
from holefill.context.types.ranking import Observed

_ACCESS = re.compile(r"(?=(?<![\w$])([A-Za-z_$][\w$]*)(?:\(\))?\??\.([A-Za-z_$][\w$]*))")
"""Receiver and attribute; a lookahead, so that the middle of `a.b.c` counts as both."""
_OF_RESULT = re.compile(r"(?<!\()([)\]])\??\.([A-Za-z_$][\w$]*)")
_RESULTS = {")": "()", "]": "[]"}
"""Names of what a call with arguments gives, and of an element, whatever is called or indexed."""
_LAST = re.compile(r"(?<![\w$])[A-Za-z_$][\w$]*$")
_MAX_FILES = 60
_SHARE = 16
"""Of the time there is, one part in so many goes into files not read before; the others are read in the background."""
_REST_S = 0.001
Accesses = dict[str, list[str]]
"""Receiver → attributes, as often as they stand there."""


class Cooccurrence:
    """Attributes per receiver name and file, kept by content. Any thread may call."""

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index
        self._files: dict[str, tuple[str, Accesses]] = {}
        self._pieces: dict[str, list[tuple[str, str]]] = {}
        self._reading = threading.Lock()
        self._ahead: set[str] = set()

    def observed(self, path: str, text: str, receiver: str, deadline: Deadline) -> Observed:
        """``text`` is that of the file now, without the hole."""
        pairs = self._accesses(text)
        own = Counter(attribute for name, attribute in pairs if name == receiver)
        anywhere = Counter(attribute for _, attribute in pairs)
        folder, complete = self._folder(path, receiver, deadline)
        return Observed(own, folder, anywhere, complete)

    def _accesses(self, text: str) -> list[tuple[str, str]]:
        """Piece by piece: of a file that is being typed in, all but one were searched before."""
        known, found = self._pieces, {}
        pieces = text.split("\n\n")
        for piece in pieces:
            found[piece] = known[piece] if piece in known else _pairs(piece)
        self._pieces = found
        return [pair for piece in pieces for pair in found[piece]]

    def read_ahead(self, path: str) -> None:
        """Read the folder of a file in the background, once: the first question about it is soon to come."""
        relative = self._index.relative(path) or path
        folder = relative.rpartition("/")[0]
        if folder not in self._ahead:
            self._ahead.add(folder)
            threading.Thread(target=self._read, args=(relative,), name="holefill-accesses", daemon=True).start()

    def _read(self, relative: str) -> None:
        if self._reading.acquire(blocking=False):  # one at a time; what it leaves, a question reads
            try:
                for other in self._beside(relative):
                    self._known(other)
                    time.sleep(_REST_S)  # let the thread that answers a keystroke run
            finally:
                self._reading.release()

    def _folder(self, path: str, receiver: str, deadline: Deadline) -> tuple[Counter[str], bool]:
        relative = self._index.relative(path) or path
        until = Deadline.after_ms(deadline.remaining_ms() / _SHARE)
        total: Counter[str] = Counter()
        complete = True
        for other in self._beside(relative):
            found = self._known(other, only_read=until.expired())
            if found is None:
                complete = False
                self._ahead.discard(relative.rpartition("/")[0])
            else:
                total.update(found.get(receiver, ()))
        self.read_ahead(path)
        return total, complete

    def _known(self, path: str, only_read: bool = False) -> Accesses | None:
        """None for a file that was not read before and may not be now."""
        record = self._index.record(path)
        if record is None:
            return {}
        known = self._files.get(path)
        if known is None or known[0] != record.digest:
            if only_read:
                return None
            known = self._files[path] = (record.digest, accesses(self._index.text(path) or ""))
        return known[1]

    def _beside(self, relative: str) -> list[str]:
        folder = relative.rpartition("/")[0]
        within = f"{folder}/" if folder else ""
        paths = self._index.paths()
        found: list[str] = []
        for path in paths[bisect_left(paths, within) :]:
            if not path.startswith(within) or len(found) == _MAX_FILES:
                break
            if "/" not in path[len(within) :] and path != relative:
                found.append(path)
        return found


def accesses(text: str) -> Accesses:
    found: Accesses = {}
    for receiver, attribute in _pairs(text):
        found.setdefault(receiver, []).append(attribute)
    return found


def receiver_key(receiver: str) -> str:
    """Under which the attributes of an expression are counted: its last name, or what kind of result it is."""
    text = receiver.strip().removesuffix("()")
    name = _LAST.search(text)
    return _RESULTS.get(text[-1:], "") if name is None else name[0]


def _pairs(text: str) -> list[tuple[str, str]]:
    of_results = [(_RESULTS[closer], attribute) for closer, attribute in _OF_RESULT.findall(text)]
    return _ACCESS.findall(text) + of_results
