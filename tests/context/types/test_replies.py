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


@pytest.mark.parametrize(
    ("start", "message", "told"),
    [
        ("half", "Name `halflost` used when not defined", True),  # what is typed of it and what is filled in
        ("box", "Type `Box` has no attribute `halflost`", True),
        ("box", "Type `Box` has no attribute `half`", False),
        ("take", "No argument for `y`", False),
    ],
)
def test_what_names_the_word_that_the_fill_ends_needs_no_baseline(start: str, message: str, told: bool) -> None:
    text = "b = take(box.halflost)\n"
    fill, name = (text.index("lost"), text.index(")")), text.index("half")
    found = new_inside((error(message, text.index(start), fill[1]),), text, fill, name)
    assert (found is not None) == told
    assert new_inside((error(message, text.index(start), fill[1]),), text, fill) is None
