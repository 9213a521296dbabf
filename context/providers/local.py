"""The rest of the current file, as signatures: what it defines outside of the window that the prompt shows anyway.

One of the *coding* contexts of "Studying the usage of contexts" (eight context types): file-level context.
"""

from __future__ import annotations

import re
import time
from collections import Counter

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import ByteOffset, Cursor, Item, Span
from holefill.context.provider import Deadline
from holefill.context.providers.imports import described
from holefill.context.syntax.definitions import Definition, definitions
from holefill.context.syntax.languages import line_comment

_WORD = re.compile(r"[^\W\d]\w*")
_NEAR_CHARS = 1200
_MAX_ITEMS = 12
_KINDS = frozenset({"function", "method", "class", "interface", "enum", "type"})


class LocalProvider:
    name = "local"

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        if budget_tokens <= 0 or not self._index.reads(cursor):
            return []
        before = time.perf_counter()
        relative = self._index.relative(cursor.path) or cursor.path
        known = definitions(self._index.documents.repaired(cursor).parsed)
        near = Counter(_WORD.findall(cursor.text[max(0, cursor.offset - _NEAR_CHARS) : cursor.offset]))
        ranked = sorted((one for one in known if one.kind in _KINDS), key=lambda one: -_worth(one, near))
        comment = line_comment(cursor.language)
        cost_ms = (time.perf_counter() - before) * 1000
        return [
            Item(
                described(one, comment),
                self.name,
                (Span(relative, ByteOffset(one.start), ByteOffset(one.body)),),
                (f"{relative}#{one.qualified}",),
                _worth(one, near),
                cost_ms,
            )
            for one in ranked[:_MAX_ITEMS]
        ]


def _worth(symbol: Definition, near: Counter[str]) -> float:
    """Names that the code before the cursor uses; then top-level ones, which it can."""
    owner = symbol.parent.rpartition(".")[2]
    return min(3, near[symbol.name]) + 0.5 * min(2, near[owner]) + 0.25 * (not symbol.parent)
