"""Which of a checker's errors a fill has brought, read from the filled text alone."""

from __future__ import annotations

import pytest

from holefill.context.items import CharOffset
from holefill.context.types.oracle import Diagnostic
from holefill.context.types.replies import new_inside

TEXT = "a = lost\nb = take(lost, 1)\n"
FILL = (TEXT.index("lost, 1"), TEXT.index(", 1"))


def error(message: str, start: int, end: int) -> Diagnostic:
    return Diagnostic("code", message, CharOffset(start), CharOffset(end))


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([], []),
        ([error("lost", *FILL)], ["lost"]),
        ([error("elsewhere", 0, 1)], []),
        ([error("lost", 4, 8), error("lost", *FILL)], []),  # the user's own code has it
        ([error("call", TEXT.index("take"), len(TEXT) - 1)], None),  # may have been there before the fill
        ([error("lost", *FILL), error("call", TEXT.index("take"), len(TEXT) - 1)], None),
    ],
)
def test_what_stands_in_the_fill_alone_needs_no_baseline(errors: list[Diagnostic], told: list[str] | None) -> None:
    found = new_inside(tuple(errors), TEXT, FILL)
    assert (None if found is None else [one.message for one in found]) == told
