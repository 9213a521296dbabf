"""The regions the user edited last in other files: what they are working on."""

from __future__ import annotations

import textwrap

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import ByteOffset, Cursor, Item, Span
from holefill.context.provider import Deadline

_MAX_ITEMS = 6


class RecentEditsProvider:
    name = "recent_edits"

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        if budget_tokens <= 0 or deadline.expired():
            return []
        here = self._index.relative(cursor.path)
        others = [edit for edit in self._index.edits.newest() if edit.path != here and edit.text.strip()]
        return [
            Item(
                textwrap.dedent(edit.text),
                self.name,
                (Span(edit.path, ByteOffset(0), ByteOffset(0)),),
                (f"{edit.path}@{edit.first_line}",),
                score=1.0 / (1 + age),
            )
            for age, edit in enumerate(others[:_MAX_ITEMS])
        ]
