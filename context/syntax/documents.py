"""The repaired syntax tree of each open document, shared by all who need it for the same keystroke."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from holefill.context.items import Cursor
from holefill.context.syntax.parsing import Parsed, encode, parse
from holefill.context.syntax.repair import Repair, repair

_KEPT = 16


@dataclass(frozen=True, slots=True)
class _State:
    text: str
    offset: int
    language: str
    repair: Repair

    def answers(self, cursor: Cursor) -> bool:
        same_place = (self.offset, self.language) == (cursor.offset, cursor.language)
        return same_place and (self.text is cursor.text or self.text == cursor.text)


class Documents:
    """Repairs each (document, cursor) once, reusing the tree of the keystroke before. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: OrderedDict[str, _State] = OrderedDict()
        self._plain: OrderedDict[str, Parsed] = OrderedDict()

    def repaired(self, cursor: Cursor) -> Repair:
        """``cursor.language`` must be one of ``LANGUAGES``. Offsets before the hole are those of the document."""
        with self._lock:
            known = self._states.get(cursor.path)
            if known is not None and known.answers(cursor):
                return known.repair
            previous = self._nearest(cursor, known)
            fixed = repair(cursor.language, cursor.text, cursor.offset, previous)
            self._states[cursor.path] = _State(cursor.text, cursor.offset, cursor.language, fixed)
            self._states.move_to_end(cursor.path)
            if len(self._states) > _KEPT:
                self._states.popitem(last=False)
            return fixed

    def changed(self, path: str, language: str, text: str) -> Parsed:
        """The tree of a document's text, ready for the keystroke that follows: to be asked off its path.

        Wherever in the text that one's cursor then is, its tree differs from this one by the hole alone.
        """
        with self._lock:
            known = self._states.get(path)
            previous = self._plain.get(path) or (None if known is None else known.repair.parsed)
        parsed = parse(language, text, previous)
        parsed.prepare()
        with self._lock:
            self._plain[path] = parsed
            self._plain.move_to_end(path)
            if len(self._plain) > _KEPT:
                self._plain.popitem(last=False)
        return parsed

    def _nearest(self, cursor: Cursor, known: _State | None) -> Parsed | None:
        """The earlier tree from which the fewest bytes changed, as far as that is known."""
        plain = self._plain.get(cursor.path)
        if known is None or (plain is not None and plain.source == encode(cursor.text)):
            return plain
        return known.repair.parsed
