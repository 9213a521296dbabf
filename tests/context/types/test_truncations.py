"""Half-typed files: cut off, or with a piece missing, at random places. There is always an answer, and no exception."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from holefill.context.check import check
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.syntax.tokens import open_at_end
from holefill.context.types.holes import hole_at
from holefill.context.types.typed_holes import TypedHoles

SOURCES = Path(__file__).resolve().parents[3] / "context" / "types"
CASES = 120


@pytest.fixture(scope="module")
def holes() -> TypedHoles:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holefill.context.types.typed_holes.python_spec", lambda root: None)
        index = WorkspaceIndex(SOURCES)
        index.refresh()
        made = TypedHoles(index)
        made.layer("python")
        return made


def places(seed: int) -> list[Cursor]:
    rng = random.Random(seed)
    texts = {path: path.read_text("utf-8") for path in sorted(SOURCES.glob("*.py"))}
    found: list[Cursor] = []
    while len(found) < CASES:
        path = rng.choice([path for path in texts if len(texts[path]) > 1000])
        text = texts[path]
        at = rng.randrange(len(text))
        rest = rng.choice(["", text[text.find("\n", at) :], text[at + rng.randrange(1, 80) :]])
        found.append(Cursor(str(path), text[:at] + rest, CharOffset(at), "python", str(SOURCES)))
    return found


def test_nearly_every_place_in_code_is_a_hole() -> None:
    in_code = [cursor for cursor in places(1) if is_code(cursor)]
    answered = sum(hole_at(cursor) is not None for cursor in in_code)
    assert len(in_code) > CASES / 2
    assert answered / len(in_code) >= 0.95


def is_code(cursor: Cursor) -> bool:
    """Neither in a string or comment nor in an import."""
    state = open_at_end("python", cursor.prefix)
    lines = cursor.prefix.rpartition("\n\n")[2]
    return not state.string and not state.comment and not lines.lstrip().startswith(("from ", "import "))


def test_every_question_is_answered_without_an_exception(holes: TypedHoles) -> None:
    for cursor in places(2):
        asked = holes.query(cursor, Deadline.after_ms(2000))
        assert asked.hole is None or asked.hole.text[asked.hole.name_start : asked.hole.name_end].find("_hole_") >= 0


def test_every_fill_is_checked_without_an_exception(holes: TypedHoles) -> None:
    rng = random.Random(3)
    for cursor in places(3)[:60]:
        fill = rng.choice(["name", "a.b(", "x)\n", ": pass", "self.thing\n        return [", "é🦉", ")]}"])
        for problem in check(holes, cursor, fill, Deadline.after_ms(2000)).problems:
            assert 0 <= problem.start <= problem.end


def test_the_same_question_has_the_same_answer(holes: TypedHoles) -> None:
    for cursor in places(4)[:20]:
        first, second = (holes.query(cursor, Deadline.after_ms(5000)) for _ in range(2))
        assert (first.expected_type, first.members, first.headers, first.types) == (
            second.expected_type,
            second.members,
            second.headers,
            second.types,
        )
