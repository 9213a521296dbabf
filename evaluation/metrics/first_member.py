"""Behind the dot of a receiver whose members are all known: does the answer go on with one, and with the right one?"""

from __future__ import annotations

import re

from holefill.context.items import Cursor
from holefill.context.provider import Deadline
from holefill.context.types.typed_holes import TypedHoles
from holefill.lsp_server.existing_names import only_members

_PATIENCE_MS = 5_000.0
_WORD = re.compile(r"\w+")


def first_member(holes: TypedHoles, cursor: Cursor, prediction: str, member: str) -> dict[str, float]:
    """``member_top_1`` (100 or 0) of every answer there; ``member_invented`` of those that go on with a name, lower is
    better. Nothing at other places."""
    names = only_members(holes, cursor, Deadline.after_ms(_PATIENCE_MS)) if member else ()
    if not names:
        return {}
    word = _WORD.match(prediction)
    if word is None:
        return {"member_top_1": 0.0}
    return {"member_top_1": 100.0 * (word.group() == member), "member_invented": 100.0 * (word.group() not in names)}
