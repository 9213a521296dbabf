"""What nothing names is not checked; what the hole or the fill names, directly or not, is; nothing moves."""

from __future__ import annotations

from dataclasses import replace

from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.types.oracle import Hole, Source
from holefill.context.types.pruning import Pruned, pruned
from holefill.context.types.skeleton import skeleton
from tests.context.types.conftest import Workspace, hole_in

FILLER = "".join(
    f"class Kind{n}(Base):\n    def run(self) -> str:\n        return str({n})\n\n\ndef make_{n}() -> Kind{n}:\n"
    f"    return Kind{n}()\n\n\n"
    for n in range(250)
)
HOLE = "LIMIT = make_7\nprint(LIMIT)\n\n\ndef here():\n    é = ▮\n    return é\n"
TEXT = f"import os\n\n\nclass Base:\n    size: int = 0\n\n\n{FILLER}{HOLE}"


def of(marked: str, language: str = "python") -> tuple[Cursor, Pruned]:
    cursor = Cursor("/w/long.py", marked.replace("▮", ""), CharOffset(marked.index("▮")), language, "/w")
    at = hole_in(cursor)
    return cursor, pruned(skeleton(at), at)


def test_only_what_is_named_stays_and_nothing_moves() -> None:
    _, slim = of(TEXT)
    text = slim.hole.text
    assert len(text) == len(slim.skeleton.whole)
    assert [at for at, char in enumerate(text) if char == "\n"] == [
        at for at, char in enumerate(slim.skeleton.whole) if char == "\n"
    ]
    stays = ("import os", "class Base:", "class Kind7(Base):", "def make_7() -> Kind7:", "LIMIT = make_7", "é = _hole_")
    assert all(one in text for one in stays)
    assert "Kind8" not in text
    assert "make_70" not in text
    assert "return str(" not in text


def test_what_the_fill_names_comes_back_with_what_that_names() -> None:
    cursor, slim = of(TEXT)
    filled = slim.filled(cursor.prefix + "make_9()" + cursor.suffix)
    assert "def make_9() -> Kind9:" in filled
    assert "class Kind9(Base):" in filled
    assert "Kind8" not in filled
    assert len(filled) == len(cursor.text) + len("make_9()")


def test_variables_go_as_definitions_do() -> None:
    marked = f'rows = [Kind8()]\nlimit: int = 3\nkept = late\n__all__ = ["told"]\ntold = 1\na = b = 2\n{FILLER}{HOLE}'
    marked += "late = 4\nlate = 5\n(c := 6)\nd = (e := 7)\n"
    cursor, slim = of(marked)
    gone = ("rows = ", "Kind8", "limit: int", "kept = ", "late = ")
    assert [one for one in gone if one in slim.hole.text] == []
    for one in ("__all__ = ", "told = 1", "a = b = 2", "(c := 6)", "d = (e := 7)"):
        assert one in slim.hole.text
    filled = slim.filled(cursor.prefix + "kept" + cursor.suffix)
    assert all(one in filled for one in ("kept = late", "late = 4", "late = 5"))
    assert "rows = " not in filled


def test_a_function_that_the_hole_may_go_on_with_stays() -> None:
    marked = f"class Base: ...\n\n\n{FILLER}    ▮\n\n\n{FILLER.replace('Kind', 'Late').replace('make', 'late')}"
    _, slim = of(marked)
    assert "def make_249() -> Kind249:" in slim.hole.text
    assert "def make_248" not in slim.hole.text


def test_other_languages_and_short_buffers_stay_as_their_skeletons() -> None:
    for marked, language in (("def f(): ...\nx = ▮\n", "python"), ("function f() {}\n" * 3000 + "▮", "typescript")):
        _, slim = of(marked, language)
        assert slim.hole == slim.skeleton.hole


def test_a_type_revealed_without_what_is_blanked_is_that_of_the_whole_text(python: Workspace) -> None:
    """A union's hole tells a hover nothing: the file is checked, and what is left of it names all that counts."""
    marked = TEXT.replace("é = ▮", 'é: dict[str, Kind9 | make] = {"a": ▮}').replace("LIMIT =", "make = Kind3\nLIMIT =")
    cursor, _ = of(marked)
    path = str(python.root / "long.py")
    at = hole_in(replace(cursor, path=path, root=str(python.root)))
    asked: list[str] = []
    least = pruned(skeleton(at, 0), at)

    def slim() -> Hole:
        asked.append(least.hole.text)
        return least.hole

    told = python.holes.layer("python").expected_type(at.hole, Deadline.after_ms(20_000), at.hole, slim)
    assert told.source is Source.REVEAL
    assert told.value is not None
    assert told.value.text == "Kind9 | Kind3"
    assert "Kind8" not in asked[0]
