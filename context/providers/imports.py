"""Signatures, with the first line of documentation, of what the file's imports bring in from the workspace (LANCE).

LANCE, "API completion with local APIs": resolve the local imports, show what they define. Of a large module only the
names near the cursor are shown, and of a class its constructor and the members that the text already uses.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator

from holefill.context.index.records import Located
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import ByteOffset, Cursor, Item, Span
from holefill.context.provider import Deadline
from holefill.context.syntax.definitions import Definition
from holefill.context.syntax.languages import line_comment

_WORD = re.compile(r"[^\W\d]\w*")
_NEAR_CHARS = 2000
"""Names used this near before the cursor are more likely to be used again."""
_MAX_MEMBERS = 12
_MAX_NAMES = 60
_CONSTRUCTORS = frozenset({"__init__", "constructor"})


class ImportsProvider:
    name = "imports"

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        if budget_tokens <= 0 or not self._index.reads(cursor):
            return []
        started = time.perf_counter()
        resolved = self._index.imported(cursor.path, self._index.documents.repaired(cursor).parsed)
        uses = _uses(cursor)
        ranked = sorted(resolved, key=lambda found: -uses[found.local.rpartition(".")[2]])[:_MAX_NAMES]
        items: list[Item] = []
        for found in ranked:
            if deadline.expired():
                break
            item = self._item(found.local, found.target, uses, started)
            if item is not None:
                items.append(item)
        return items

    def _item(self, local: str, target: Located, uses: Counter[str], started: float) -> Item | None:
        lines = list(self._lines(target, uses))
        if not lines:
            return None
        symbol = target.symbol
        span = Span(
            target.path,
            ByteOffset(0 if symbol is None else symbol.start),
            ByteOffset(0 if symbol is None else symbol.end),
        )
        return Item(
            text="\n".join(lines),
            source=self.name,
            spans=(span,),
            symbol_ids=(target.id,),
            score=float(uses[local.rpartition(".")[2]]),
            cost_ms=(time.perf_counter() - started) * 1000,
        )

    def _lines(self, target: Located, uses: Counter[str]) -> Iterator[str]:
        record = self._index.record(target.path)
        comment = line_comment(record.language if record is not None else "")
        if target.symbol is not None:
            yield described(target.symbol, comment)
        for member in self._members(target, uses):
            indent = "" if target.symbol is None else "    "
            yield indent + described(member, comment)

    def _members(self, target: Located, uses: Counter[str]) -> list[Definition]:
        """Constructor first, then members the text already names, then the other public ones in source order."""
        symbols = [member.symbol for member in self._index.members(target) if member.symbol is not None]
        public = [symbol for symbol in symbols if not symbol.name.startswith("_") or symbol.name in _CONSTRUCTORS]
        public.sort(key=lambda symbol: (symbol.name not in _CONSTRUCTORS, -min(1, uses[symbol.name])))
        chosen = public[:_MAX_MEMBERS]
        return sorted(chosen, key=lambda symbol: symbol.start)


def described(symbol: Definition, comment: str) -> str:
    """A signature with its documentation behind it on the same line."""
    return f"{symbol.signature}  {comment} {symbol.doc}" if symbol.doc else symbol.signature


def _uses(cursor: Cursor) -> Counter[str]:
    """How often each word stands near the cursor; words further away count once in all."""
    near = cursor.text[max(0, cursor.offset - _NEAR_CHARS) : cursor.offset]
    counts = Counter(_WORD.findall(near))
    for word in set(_WORD.findall(cursor.text[max(0, cursor.offset - 20_000) : cursor.offset + 5_000])):
        counts[word] += 1
    return counts
