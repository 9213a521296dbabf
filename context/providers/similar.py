"""Definitions elsewhere in the workspace that use the same words as the code around the cursor."""

from __future__ import annotations

import textwrap
import threading
import time

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import ByteOffset, Cursor, Item, Span
from holefill.context.provider import Deadline
from holefill.context.retrieval.lexical import LexicalIndex

_QUERY_BEFORE, _QUERY_AFTER = 1200, 300
_MAX_HITS = 6


class SimilarProvider:
    """The word index is built in the background at the first call; until then there are no items."""

    name = "similar"

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index
        self._lexical = LexicalIndex(index)

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        if budget_tokens <= 0 or deadline.expired():
            return []
        here = self._index.relative(cursor.path) or ""
        if not self._lexical.current(here):
            threading.Thread(target=self._lexical.sync, args=(here,), name="lexical-index", daemon=True).start()
        before = time.perf_counter()
        query = cursor.text[max(0, cursor.offset - _QUERY_BEFORE) : cursor.offset + _QUERY_AFTER]
        hits = self._lexical.search(query, _MAX_HITS, without=here)
        cost_ms = (time.perf_counter() - before) * 1000
        return [
            Item(
                textwrap.dedent(hit.chunk.text),
                self.name,
                (Span(hit.chunk.path, ByteOffset(hit.chunk.start), ByteOffset(hit.chunk.end)),),
                (f"{hit.chunk.path}#{hit.chunk.name}",),
                hit.score,
                cost_ms,
            )
            for hit in hits
        ]

    def prepare(self, cursor: Cursor) -> None:
        self._lexical.sync()
