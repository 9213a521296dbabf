"""Where the cursor is: the definitions that enclose a byte, innermost last."""

from __future__ import annotations

from holefill.context.syntax.definitions import Definition, definitions
from holefill.context.syntax.parsing import Parsed


def enclosing(parsed: Parsed, offset: int) -> tuple[Definition, ...]:
    """Definitions whose span holds ``offset``, outermost first; a field or constant is no scope."""
    # A query over the byte around the cursor finds exactly the nodes that touch it.
    near = definitions(parsed, (max(0, offset - 1), offset + 1))
    scopes = (found for found in near if found.kind not in ("field", "attribute", "constant"))
    return tuple(found for found in scopes if found.start <= offset <= found.end)


def enclosing_class(parsed: Parsed, offset: int) -> Definition | None:
    kinds = ("class", "interface", "enum")
    return next((found for found in reversed(enclosing(parsed, offset)) if found.kind in kinds), None)
