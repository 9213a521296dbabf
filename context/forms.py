"""Where in a prompt repository context stands, and what of it: one row per form.

The two usual forms put items in front of the prefix, where small models overlook them (LOG.md). The others write one
fact about the hole next to the hole: above the statement, or on the line where the receiver is bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from holefill.context.items import Item, ItemRole

_MAX_STATEMENT_LINES = 20


class Place(Enum):
    TOP = "comments in front of the prefix"
    FILES = "other files, in the family's repository tokens"
    STATEMENT = "comments directly above the statement that holds the cursor"
    BINDING = "a comment on the line that binds the receiver, else above the statement"


@dataclass(frozen=True, slots=True)
class Form:
    place: Place
    roles: frozenset[ItemRole] | None = None
    """Which items it shows; None: all."""

    def shows(self, item: Item) -> bool:
        return self.roles is None or item.role in self.roles


COMMENTS = "comments"
FORMS: Mapping[str, Form] = MappingProxyType(
    {
        COMMENTS: Form(Place.TOP),
        "repository": Form(Place.FILES),
        "signature": Form(Place.STATEMENT, frozenset({ItemRole.CALLEE})),
        "members": Form(Place.BINDING, frozenset({ItemRole.MEMBERS})),
        "example": Form(Place.STATEMENT, frozenset({ItemRole.EXAMPLE})),
        # No example beside them: it brings the names and values of another place, and small models copy these.
        "hints": Form(Place.STATEMENT, frozenset({ItemRole.CALLEE, ItemRole.MEMBERS})),
    }
)


def annotated(
    form: Form, shown: str, items: Sequence[Item], comment: str, budget_tokens: int, cost: Callable[[str], int]
) -> str:
    """``shown``, the part of the prefix that a prompt shows, with the items' comments in their place.

    Whole items until the budget is spent; the cursor's own line keeps its text.
    """
    left = budget_tokens
    for item in items:
        if not form.shows(item):
            continue
        at = _binding_end(shown, item) if form.place is Place.BINDING else None
        text = f"  {comment} {' '.join(item.text.split())}" if at is not None else _lines(shown, item, comment)
        if cost(text) > left:
            continue
        left -= cost(text)
        if at is None:
            at = statement_start(shown)
        shown = shown[:at] + text + shown[at:]
    return shown


def statement_start(text: str) -> int:
    """Of the line on which the last statement of ``text`` began: further up where its line continues a bracket."""
    start = text.rfind("\n") + 1
    found, depth = start, 0
    for _ in range(_MAX_STATEMENT_LINES):
        line = text[start : text.find("\n", start) if text.find("\n", start) >= 0 else len(text)]
        depth += sum(line.count(opener) - line.count(closer) for opener, closer in ("()", "[]"))
        if depth > 0:
            found, depth = start, 0
        if start == 0:
            break
        start = text.rfind("\n", 0, start - 1) + 1
    return found


def _lines(shown: str, item: Item, comment: str) -> str:
    start = statement_start(shown)
    line = shown[start:].split("\n", 1)[0]
    indent = line[: len(line) - len(line.lstrip(" \t"))]
    return "".join(f"{indent}{comment} {one}".rstrip() + "\n" for one in item.text.strip().splitlines())


def _binding_end(shown: str, item: Item) -> int | None:
    """The end of the last whole line that binds the name which the item is about."""
    name = re.escape(item.text.partition(":")[0].strip())
    lines = shown[: shown.rfind("\n") + 1]
    pattern = rf"^.*(?:(?<![\w.]){name}\s*(?::[^=\n]*)?=(?!=)|\bas\s+{name}\s*:|[(,]\s*{name}\s*[:,)=]).*$"
    found = [match for match in re.finditer(pattern, lines, re.M) if not match[0].rstrip().endswith("\\")]
    return found[-1].end() if found else None
