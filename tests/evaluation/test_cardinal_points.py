"""Golden cardinal points: | marks each cursor."""

from __future__ import annotations

import pytest

from holefill.evaluation.cardinal_points import cardinal_points


@pytest.mark.parametrize(
    ("marked", "language"),
    [
        ("    |total = |price.|net(|quantity, |rate)", "python"),
        ("|return |self.|rows[|0]", "python"),
        ("|x += |1.5", "python"),
        ("|if |a == b and |c:", "python"),
        ('|log(|"a.b(c, d)", |extra)  # see x.y', "python"),
        ("\t|result := |build(|ctx, |name)", "go"),
        ("  |const a = |await |load()", "typescript"),
        ("", "python"),
        ("# only a comment.here", "python"),
    ],
)
def test_cardinal_points(marked: str, language: str) -> None:
    line = marked.replace("|", "")
    columns = [point.column for point in cardinal_points(line, language)]
    shown = line
    for column in reversed(columns):
        shown = shown[:column] + "|" + shown[column:]
    assert shown == marked
