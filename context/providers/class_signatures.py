"""The enclosing class and its bases, as signatures: what ``self.`` offers here.

"Studying the usage of contexts" (eight context types): signatures of the enclosing class are its *coding* context.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from holefill.context.index.records import Located
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import ByteOffset, Cursor, Item, Span
from holefill.context.provider import Deadline
from holefill.context.providers.imports import described
from holefill.context.syntax.languages import line_comment
from holefill.context.syntax.parsing import encode
from holefill.context.syntax.scopes import enclosing_class

_WORD = re.compile(r"[^\W\d]\w*")
_MAX_DEPTH = 3
_MAX_MEMBERS = 40


class ClassSignaturesProvider:
    name = "class_signatures"

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        if budget_tokens <= 0 or not self._index.reads(cursor):
            return []
        before = time.perf_counter()
        parsed = self._index.documents.repaired(cursor).parsed
        own = enclosing_class(parsed, len(encode(cursor.prefix)))
        relative = self._index.relative(cursor.path)
        if own is None or relative is None:
            return []
        items: list[Item] = []
        imported = {found.local: found.target for found in self._index.imported(cursor.path, parsed)}
        queue, seen = [(Located(relative, own), 0)], {own.name}
        while queue and not deadline.expired():
            located, depth = queue.pop(0)
            item = self._item(located, cursor.language, depth, (time.perf_counter() - before) * 1000)
            if item is not None:
                items.append(item)
            if depth < _MAX_DEPTH:
                queue.extend((base, depth + 1) for base in self._bases(located, imported, seen))
        return items

    def _bases(self, located: Located, imported: dict[str, Located], seen: set[str]) -> Iterator[Located]:
        symbol = located.symbol
        for name in _WORD.findall(symbol.signature) if symbol is not None else ():
            if name in seen:
                continue
            target = imported.get(name) or self._only_class(name, located.path)
            if target is not None and target.symbol is not None and target.symbol.kind in ("class", "interface"):
                seen.add(name)
                yield target

    def _only_class(self, name: str, path: str) -> Located | None:
        """A class by name: the same file's, else the workspace's only one."""
        kinds = ("class", "interface")
        found = [known for known in self._index.find(name) if known.symbol is not None and known.symbol.kind in kinds]
        here = [known for known in found if known.path == path]
        if here:
            return here[0]
        return found[0] if len(found) == 1 else None

    def _item(self, located: Located, language: str, depth: int, cost_ms: float) -> Item | None:
        symbol = located.symbol
        members = [member.symbol for member in self._index.members(located) if member.symbol is not None]
        if symbol is None or not members:
            return None
        comment = line_comment(language)
        lines = [described(symbol, comment)]
        lines += ["    " + described(member, comment) for member in members[:_MAX_MEMBERS]]
        return Item(
            "\n".join(lines),
            self.name,
            (Span(located.path, ByteOffset(symbol.start), ByteOffset(symbol.end)),),
            (located.id,),
            score=1.0 / (1 + depth),
            cost_ms=cost_ms,
        )
