"""A long buffer without the bodies that do not count: nothing moves, and a checker says the same of the hole."""

from __future__ import annotations

import random

import pytest

from holefill.context.check import check
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.syntax.parsing import parse
from holefill.context.types import skeleton as module
from holefill.context.types.holes import hole_at
from holefill.context.types.skeleton import skeleton
from tests.context.types.conftest import Workspace, hole_in

HEAD = "class Box:\n    size: int\n    def set(self):\n        self.label = 'x'\n        x = 1\n\n"
FILLER = "".join(
    f"def step_{n}(box: Box, more: int = 0) -> str:\n    '''Ünïcode {n}.\n\n    Second line.'''\n"
    f"    if more > {n}:\n        return box.label\n    return str(more)\n\n"
    for n in range(220)
)
HOLE = "def here(box: Box) -> str:\n    value = ▮\n    return value\n\n"


def cursor_of(marked: str, language: str = "python", path: str = "/w/long.py") -> Cursor:
    return Cursor(path, marked.replace("▮", ""), CharOffset(marked.index("▮")), language, "/w")


def test_offsets_and_lines_stay_and_bodies_go() -> None:
    half = len(FILLER) // 2
    at = hole_in(cursor_of(HEAD + FILLER[:half].rpartition("def ")[0] + HOLE + FILLER))
    slim = skeleton(at)
    assert len(slim.hole.text) == len(at.hole.text)
    assert [i for i, c in enumerate(slim.hole.text) if c == "\n"] == [
        i for i, c in enumerate(at.hole.text) if c == "\n"
    ]
    assert "return box.label" not in slim.hole.text
    assert "self.label = 'x'" in slim.hole.text
    assert HOLE.split("▮")[0] in slim.hole.text
    assert not parse("python", slim.hole.text).root.has_error
    fill = "box.label.upper()"
    filled = at.hole.text[: at.hole.start] + fill + at.hole.text[at.hole.end :]
    found = slim.filled(filled)
    assert len(found) == len(filled)
    assert found[at.hole.start : at.hole.start + len(fill)] == fill
    assert found.replace(fill, "", 1) == slim.hole.text.replace(at.hole.text[at.hole.start : at.hole.end], "", 1)


@pytest.mark.parametrize("hole", ["▮\n", "\n    # then\n▮\n", "    ▮\n", "        ▮\n    return kept\n"])
def test_the_function_that_the_hole_goes_on_with_stays(hole: str) -> None:
    """Also where the cursor stands at the start of a line and the fill brings its own indentation."""
    at = hole_in(
        cursor_of(HEAD + FILLER + "def here(kept):\n    for item in kept:\n        print(item)\n" + hole + FILLER)
    )
    assert "for item in kept" in skeleton(at).hole.text


def test_a_banner_of_hashes_is_read_once() -> None:
    """A pattern that may split it anywhere would not end in a year."""
    text = FILLER + "#" * 5000 + " x\n" + "# # " * 500 + "\nleft\n" + HOLE
    slim = skeleton(hole_in(cursor_of(text)))
    assert "more > 218" not in slim.hole.text
    assert "#" * 5000 in slim.hole.text


COUNTER = """def counter{0}():
    count = 0

    def up() -> int:
        nonlocal count
        count = {0} + 1
        return count

    up()
    {1}
    return up

"""


def test_a_nonlocal_name_keeps_the_body_that_binds_it_only_where_its_function_stays() -> None:
    """Without its function it is nobody's; the word in a text is no statement."""
    prose = 'def told() -> None:\n    """Says.\n\n    Of global settings, nonlocal ones."""\n    hidden = 1\n\n'
    others = "".join(COUNTER.format(n, "pass") for n in range(250))
    slim = skeleton(hole_in(cursor_of(others + prose + COUNTER.format(999, "shown = ▮") + prose))).hole.text
    assert "count = 999 + 1" in slim
    assert "count = 7 + 1" not in slim
    assert "hidden" not in slim


def test_a_global_name_keeps_the_body_that_binds_it() -> None:
    text = FILLER + "def reset() -> None:\n    if True: global limit\n    limit = 3\n\n" + HOLE
    assert "limit = 3" in skeleton(hole_in(cursor_of(text))).hole.text


def test_typescript_keeps_bodies_whose_type_is_inferred() -> None:
    part = "export function f{0}(a: number): string {{\n  const kept = a + 1;\n  return String(kept);\n}}\n"
    part += "export function g{0}(a: number) {{\n  const inferred = a * {0};\n  return inferred;\n}}\n"
    text = "".join(part.format(n) for n in range(200)) + "const x: string = ▮;\n"
    slim = skeleton(hole_in(cursor_of(text, "typescript", "/w/long.ts"))).hole.text
    assert "const kept" not in slim
    assert slim.count("return inferred;") == 200
    assert not parse("typescript", slim).root.has_error


@pytest.mark.parametrize("language", ["go", "java", "javascript"])
def test_other_languages_stay_whole(language: str) -> None:
    text = "// comment\n" * 4000 + "▮\n"
    at = hole_at(cursor_of(text, language, "/w/a.x"))
    assert at is None or skeleton(at).hole.text == at.hole.text


def test_a_short_buffer_stays_whole() -> None:
    at = hole_in(cursor_of(HEAD + HOLE))
    assert skeleton(at).hole is at.hole


FILLS = {
    "box.label": 0,
    "step_3(box, 1)": 0,
    "step_3(box, more=1).upper()": 0,
    "step_3(box, extra=1)": 1,
    "step_3(1)": 1,
    "box.lable": 1,
    "step_3000(box)": 1,
    "box.size": 1,
}


@pytest.mark.parametrize("whole", [False, True])
def test_the_checker_says_the_same_of_the_skeleton(
    python: Workspace, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    if whole:
        monkeypatch.setattr(module, "_LONG_CHARS", 10**9)
    marked = HEAD + FILLER + HOLE.replace("value = ", "value: str = ") + FILLER.replace("step_", "late_")
    text, offset = marked.replace("▮", ""), CharOffset(marked.index("▮"))
    fills = list(FILLS)
    random.Random(0).shuffle(fills)
    for version, fill in enumerate(fills):
        cursor = Cursor(str(python.root / "long.py"), text, offset, "python", str(python.root), version)
        found = check(python.holes, cursor, fill, Deadline.after_ms(20_000))
        assert found.checked
        assert len(found.problems) == FILLS[fill], (fill, found.problems)
