"""What the function around the cursor calls, who calls it, and how others call what is being called here.

"Studying the usage of contexts" (eight context types): signatures of the methods called by, and calling, the target.
The example is a line of the workspace that already makes the call which the cursor is inside of.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from holefill.context.index.records import Caller, Located
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import ByteOffset, Cursor, Item, ItemRole, Span
from holefill.context.provider import Deadline
from holefill.context.providers.imports import described
from holefill.context.syntax.calls import calls
from holefill.context.syntax.definitions import Definition
from holefill.context.syntax.languages import line_comment
from holefill.context.syntax.parsing import Parsed
from holefill.context.syntax.scopes import enclosing
from holefill.context.types.floor import FloorOracle
from holefill.context.types.holes import HoleAt, hole_at
from holefill.context.types.scope import Scope

_MAX_CALLEES, _MAX_CALLERS = 8, 3
_MAX_EXAMPLE_CHARS = 160
_CALLABLE = frozenset({"function", "method", "class"})


class CalleesCallersProvider:
    name = "callees_callers"

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index
        self._floor = FloorOracle(index)

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        if budget_tokens <= 0 or not self._index.reads(cursor):
            return []
        before = time.perf_counter()
        repaired = self._index.documents.repaired(cursor)
        relative = self._index.relative(cursor.path) or cursor.path
        items: list[Item] = []
        at = hole_at(cursor, repaired=repaired)
        if at is not None:
            self._floor.adopt(at.hole, repaired.parsed)
            items.extend(self._example(at, relative))
        scope = Scope(self._index, cursor.path, repaired.parsed) if at is None else self._floor.scope(at.hole)
        around = [one for one in enclosing(repaired.parsed, _bytes(cursor)) if one.kind in _CALLABLE - {"class"}]
        if around and not deadline.expired():
            own = around[-1]
            items.extend(self._callees(scope, repaired.parsed, own, cursor.language))
            items.extend(self._callers(Located(relative, own), cursor.language))
        cost_ms = (time.perf_counter() - before) * 1000
        return [_timed(item, cost_ms) for item in items]

    def _callees(self, scope: Scope, parsed: Parsed, own: Definition, language: str) -> Iterator[Item]:
        edges = calls(parsed, (own,), (own.start, own.end))
        found: dict[str, Located] = {}
        for edge in edges:
            located = scope.resolve(edge.callee) or _only(self._index.find(edge.callee))
            if located is not None and located.symbol is not None and located.symbol.kind in _CALLABLE:
                found.setdefault(located.id, located)
        for rank, located in enumerate(tuple(found.values())[:_MAX_CALLEES]):
            yield self._signature(located, language, 1.0 / (1 + rank))

    def _callers(self, own: Located, language: str) -> Iterator[Item]:
        for rank, caller in enumerate(self._elsewhere(own, own.path)):
            record = self._index.record(caller.path)
            symbols = () if record is None else record.symbols
            symbol = next((one for one in symbols if one.qualified == caller.name and one.name), None)
            line = _line(self._index.text(caller.path), caller.line)
            if symbol is not None and line:
                text = f"{described(symbol, line_comment(language))}\n    {line}"
                span = Span(caller.path, ByteOffset(symbol.start), ByteOffset(symbol.end))
                yield Item(text, self.name, (span,), (f"{caller.path}#{caller.name}",), 0.5 / (1 + rank))

    def _example(self, at: HoleAt, relative: str) -> Iterator[Item]:
        """A call of the same function from elsewhere, the shortest of the first few."""
        located = self._floor.callee(at.hole)
        if located is None:
            return
        name = "" if located.symbol is None else located.symbol.name
        found = [
            (caller, line)
            for caller in self._elsewhere(located, relative)
            if f"{name}(" in (line := _line(self._index.text(caller.path), caller.line)) and _balanced(line)
        ]
        if not found:
            return
        caller, line = min(found, key=lambda pair: len(pair[1]))
        span = Span(caller.path, ByteOffset(0), ByteOffset(0))
        yield Item(line, self.name, (span,), (f"{caller.path}:{caller.line}",), 2.0, role=ItemRole.EXAMPLE)

    def _elsewhere(self, located: Located, path: str) -> list[Caller]:
        return [one for one in self._index.callers(located) if one.path != path][:_MAX_CALLERS]

    def _signature(self, located: Located, language: str, score: float) -> Item:
        symbol = located.symbol
        assert symbol is not None  # callers pass definitions
        owner = f"{symbol.parent}: " if symbol.parent else ""
        span = Span(located.path, ByteOffset(symbol.start), ByteOffset(symbol.body))
        return Item(owner + described(symbol, line_comment(language)), self.name, (span,), (located.id,), score)


def _only(found: tuple[Located, ...]) -> Located | None:
    return found[0] if len(found) == 1 else None


def _line(text: str | None, number: int) -> str:
    lines = [] if text is None else text.split("\n")
    line = lines[number].strip() if number < len(lines) else ""
    return line if len(line) <= _MAX_EXAMPLE_CHARS else ""


def _balanced(line: str) -> bool:
    return all(line.count(opener) == line.count(closer) for opener, closer in ("()", "[]", "{}"))


def _bytes(cursor: Cursor) -> int:
    return len(cursor.prefix.encode("utf-8", "replace"))


def _timed(item: Item, cost_ms: float) -> Item:
    return Item(item.text, item.source, item.spans, item.symbol_ids, item.score, cost_ms, item.role)
