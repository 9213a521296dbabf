"""Where `holefill eval members` asks: real dots of anything but self and modules, each file in turn, equal by seed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.types.typed_holes import TypedHoles
from holefill.evaluation.member_places import places_of
from holefill.evaluation.member_recall import Offered, asked, drawn, summary

SOURCE = """\
import os
import os.path as p


class Shelf:
    def __init__(self):
        self.größe = 1

    def total(self):
        return self.größe + os.getpid() + len(p.sep)


def count(shelf: Shelf, other):
    "é"; other.first.second = shelf.total()
    return other.first
"""


def test_places_are_behind_real_dots() -> None:
    found = places_of(SOURCE)
    assert sorted(place.member for place in found) == ["first", "first", "second", "total"]
    for place in found:
        before, rest, after = place.around(SOURCE)
        assert before + rest + after == SOURCE
        assert before.endswith(".")
        assert rest.startswith(place.member)
        assert after.startswith("\n")
    assert places_of("def (") == []


def test_lines_are_those_of_python() -> None:
    """``str.splitlines`` would also break at a form feed and at a line separator in a string."""
    text = "x = '\u2028'\r\n\x0cy = a.b\r\nz = c.d"
    found = [(place.member, place.around(text)[1]) for place in places_of(text)]
    assert found == [("b", "b"), ("d", "d")]


def test_every_file_speaks_before_one_speaks_twice(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.py").write_text(SOURCE)
    places = drawn(tmp_path, 6, seed=1)
    assert places == drawn(tmp_path, 6, seed=1)
    assert [len({path for path, _ in places[turn : turn + 3]}) for turn in (0, 3)] == [3, 3]
    assert len(drawn(tmp_path, 100, seed=1)) == 12


def test_the_floor_is_asked_at_each(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    places = drawn(tmp_path, 10, seed=0)
    with closing(TypedHoles(index, checkers=False)) as holes:
        found = dict(zip((place.member for _, place in places), asked(holes, index, places), strict=True))
    assert found["total"].rank is not None
    assert found["total"].known
    assert found["second"].rank is None


def test_the_summary_counts_what_is_offered() -> None:
    told = summary([Offered(0, True), Offered(25, True), Offered(None, False), Offered(3, False)])
    assert told["n"] == 4
    assert told["type_known"] == 50.0
    whole, short = told["recall"], told["recall_at_20"]
    assert isinstance(whole, list)
    assert isinstance(short, list)
    assert (whole[0], short[0]) == (75.0, 50.0)
