"""Whether an answer uses a name or a member that does not exist: 100 or 0, lower is better.

Judged by the type checker of the language, or the index where there is none; what it cannot prove counts as existing.
"""

from __future__ import annotations

from holefill.context.check import Kind, check
from holefill.context.items import Cursor
from holefill.context.provider import Deadline
from holefill.context.types.typed_holes import TypedHoles

_PATIENCE_MS = 5_000.0
_KINDS = frozenset({Kind.NAME, Kind.MEMBER})


def invented_names(holes: TypedHoles, cursor: Cursor, prediction: str) -> float:
    """A name that only lacks its import exists."""
    checked = check(holes, cursor, prediction, Deadline.after_ms(_PATIENCE_MS))
    return 100.0 * any(problem.kind in _KINDS and not problem.fix for problem in checked.problems)
