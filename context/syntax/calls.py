"""Which function calls which, by name: the edges of the call graph that one file holds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import tree_sitter

from holefill.context.syntax.definitions import Definition
from holefill.context.syntax.languages import grammar
from holefill.context.syntax.parsing import Parsed

_JS = (
    "(call_expression function: [(identifier) @name (member_expression property: (property_identifier) @name)])"
    "(new_expression constructor: [(identifier) @name (member_expression property: (property_identifier) @name)])"
)
_C = "(call_expression function: [(identifier) @name (field_expression field: (field_identifier) @name)])"
_CALLS: Mapping[str, str] = MappingProxyType(
    {
        "python": "(call function: [(identifier) @name (attribute attribute: (identifier) @name)])",
        "typescript": _JS,
        "tsx": _JS,
        "javascript": _JS,
        "java": "(method_invocation name: (identifier) @name)"
        "(object_creation_expression type: (type_identifier) @name)",
        "go": "(call_expression function: [(identifier) @name (selector_expression field: (field_identifier) @name)])",
        "rust": "(call_expression function: [(identifier) @name (field_expression field: (field_identifier) @name)"
        " (scoped_identifier name: (identifier) @name)])",
        "csharp": "(invocation_expression function: "
        "[(identifier) @name (member_access_expression name: (identifier) @name)])"
        "(object_creation_expression type: (identifier) @name)",
        "c": _C,
        "cpp": _C + "(call_expression function: (qualified_identifier name: (identifier) @name))",
    }
)
"""Per language, the tree-sitter query whose ``@name`` is the last name of what is called."""
_CALLERS = frozenset({"function", "method", "macro"})


@dataclass(frozen=True, slots=True)
class Call:
    caller: str
    """Qualified name of the innermost function around the call; empty at module level."""
    callee: str
    """Last name of what is called: ``add`` for ``basket.add(x)``."""
    line: int
    """From 0, of the first such call."""


def calls(parsed: Parsed, symbols: Sequence[Definition], within: tuple[int, int] | None = None) -> tuple[Call, ...]:
    """Each (caller, callee) once, in source order; ``symbols`` are the file's own definitions in source order.

    ``within`` limits the bytes that are read.
    """
    if parsed.language not in _CALLS:
        return ()
    callers = [symbol for symbol in symbols if symbol.kind in _CALLERS]
    starts = [symbol.start for symbol in callers]
    cursor = tree_sitter.QueryCursor(_query(parsed.language))
    if within is not None:
        cursor.set_byte_range(*within)
    nodes = cursor.captures(parsed.root).get("name", [])
    found: dict[tuple[str, str], Call] = {}
    for node in sorted(nodes, key=lambda one: one.start_byte):
        caller = _around(callers, starts, node.start_byte)
        edge = (caller, parsed.text(node))
        if edge not in found:
            found[edge] = Call(*edge, node.start_point.row)
    return tuple(found.values())


def _around(callers: Sequence[Definition], starts: Sequence[int], offset: int) -> str:
    """Functions of a file do not overlap, but for methods of classes inside functions, which are left out anyway."""
    index = bisect_right(starts, offset) - 1
    while index >= 0:
        if callers[index].end > offset:
            return callers[index].qualified
        if not callers[index].parent:
            return ""
        index -= 1
    return ""


@cache
def _query(language: str) -> tree_sitter.Query:
    return tree_sitter.Query(grammar(language), _CALLS[language])
