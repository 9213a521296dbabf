"""The text around a hole: the state before it, and whether what follows can close it. Typing re-lexes one line."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from holefill.model.constrain.lexing import Automaton, State, Suffix

DOCUMENTS = 4
CHECKPOINT_BYTES = 2048
MAX_KNOWN = 100_000
_WHOLE = (b"", b"0", b" 0", b"'", b'"', b"`", b"*/", b"'''", b'"""')
_FILLERS = (*_WHOLE, b"(", b"[", b"{", b"[(", b"{(", b"({")
_ENDS = (b"", b":", b" {", b'"', b"'", b'}"', b"}'", b"}`")
"""What a line that is begun may have to end with: the head of the block that follows, or the string the hole is in."""
MAX_CLOSED = 8
_OPENER = {b")": b"(", b"]": b"[", b"}": b"{"}


class Document:
    """One file's hole, which moves."""

    def __init__(self, automaton: Automaton) -> None:
        self.automaton = automaton
        self._text = b""
        self._at = [0]
        self._states = [automaton.begin()]
        self._suffix = Suffix(automaton, b"")

    def common(self, prefix: bytes) -> int:
        """Bytes of ``prefix`` that this document's began with too."""
        low, high = 0, min(len(prefix), len(self._text))
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if prefix[low:middle] == self._text[low:middle] else (low, middle - 1)
        return low

    def before(self, prefix: bytes) -> State:
        """The state at the end of ``prefix``, which the next key goes on from."""
        keep = bisect_right(self._at, self.common(prefix))
        del self._at[keep:], self._states[keep:]
        self._text = prefix
        if self._at[-1] % CHECKPOINT_BYTES and len(prefix) > self._at[-1]:
            at, state = self._at.pop(), self._states.pop()  # an earlier cursor's
        else:
            at, state = self._at[-1], self._states[-1]
        while state and at < len(prefix):
            end = min(len(prefix), (at // CHECKPOINT_BYTES + 1) * CHECKPOINT_BYTES)
            state = self.automaton.run(state, prefix, at, end)
            at = end
            self._at.append(at)
            self._states.append(state)
        return state

    def after(self, suffix: bytes) -> Suffix:
        """``suffix`` behind the prefix that was last asked about."""
        own_line = before_a_line(self._text, suffix)
        known = self._suffix
        if (known.text, known.own_line) != (suffix, own_line) or known.known > MAX_KNOWN:
            self._suffix = Suffix(self.automaton, suffix, own_line)
        return self._suffix


def before_a_line(prefix: bytes, suffix: bytes) -> bool:
    """Whether the cursor stands at the start of a line that has text: what comes there may be a line of its own."""
    return prefix[-1:] in (b"", b"\n") and bool(suffix.partition(b"\n")[0].strip())


class Documents:
    def __init__(self) -> None:
        self._documents: list[Document] = []

    def of(self, automaton: Automaton, prefix: bytes) -> Document:
        """The one that shares most of ``prefix``; the least recently used makes room for another."""
        mine = [document for document in self._documents if document.automaton is automaton]
        best = max(mine, key=lambda document: document.common(prefix), default=None)
        if best is None or (prefix and 2 * best.common(prefix) < len(prefix)):
            best = Document(automaton)
        else:
            self._documents.remove(best)
        self._documents = [*self._documents[-(DOCUMENTS - 1) :], best]
        return best


def can_close(automaton: Automaton, state: State, suffix: Suffix, fragments: bool = False) -> bool:
    """Whether some short text could stand in the hole: if none, the user is in the middle of an edit.

    ``fragments``: files may be pieces that another file includes, so a bracket that is missing proves no edit, and only
    texts that close as they are count.
    """
    if fragments:
        return any(after and suffix.closes(after) for after in (automaton.run(state, filler) for filler in _WHOLE))
    for filler in (*_FILLERS, *_indented(state)):
        after = automaton.run(state, filler)
        for _ in range(MAX_CLOSED):
            if not after:
                break
            if any(suffix.closes(automaton.run(after, end)) for end in _ENDS):
                return True
            after = _close_one(automaton, after)
    return _opened(automaton, state, suffix)


def _indented(state: State) -> Iterator[bytes]:
    """Statements at every indentation that may come, the deepest first, where indentation counts."""
    if not state:
        return
    column, blocks = state[0].column, state[0].blocks
    for wanted in (blocks[-1] + 4, *reversed(blocks)):
        yield b" " * max(0, wanted - column) + b"0"


def _opened(automaton: Automaton, state: State, suffix: Suffix) -> bool:
    """Whether brackets opened in the hole are all that the suffix needs."""
    filler = b"0"
    for _ in range(MAX_CLOSED):
        after = automaton.run(state, filler)
        if suffix.closes(after):
            return True
        opener = _OPENER.get(suffix.fails_at(after) if after else b"")
        if opener is None:
            return False
        filler = opener + filler
    return False


def _close_one(automaton: Automaton, state: State) -> State:
    symbol = state[0].stack.symbol
    options = (automaton.run(state, bytes((byte,))) for byte in automaton.closers.get(symbol, b""))
    return next((after for after in options if after), ())
