"""Masks by name: only where nothing else can be meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.types.typed_holes import TypedHoles
from holefill.lsp_server.existing_names import only_members

TEXT = """\
import unfound


class Closed:
    def __init__(self) -> None:
        self.first = 1
        {own}

    def read(self) -> int:
        return {read}

    def __new__(cls) -> "Closed":
        made = object.__new__(cls)
        {made}
        return made


class Dynamic:
    known = 1

    def __getattr__(self, name: str) -> int:
        return 1


class Rootless(unfound.Base):
    known = 1


def use(closed: Closed, dynamic: Dynamic, rootless: Rootless, either: Closed | Dynamic, unknown) -> None:
    {use}
"""


@pytest.fixture
def holes(tmp_path: Path) -> Iterator[TypedHoles]:
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    with closing(TypedHoles(index)) as holes:
        assert holes.layer("python").ready(20)
        yield holes


@pytest.mark.parametrize(
    ("place", "typed", "expected"),
    [
        ("use", "closed.", {"first", "read"}),
        ("use", "closed.fi", {"first"}),
        ("use", "x = closed.", {"first", "read"}),
        ("read", "self.", {"first", "read"}),
        ("own", "self.", None),
        ("made", "made.", None),
        ("use", "dynamic.", None),
        ("use", "rootless.", None),
        ("use", "either.", None),
        ("use", "unknown.", None),
        ("use", "closed", None),
        ("use", "closed.zz", None),
        ("use", "1.", None),
    ],
)
def test_members_bind_only_where_there_can_be_no_other(
    holes: TypedHoles, place: str, typed: str, expected: set[str] | None
) -> None:
    places = {"own": "pass", "read": "1", "made": "pass", "use": "pass"} | {place: f"{typed}\0"}
    text = TEXT.format(**places)
    offset = text.index("\0")
    path = holes.index.root / "a.py"
    cursor = Cursor(str(path), text.replace("\0", ""), CharOffset(offset), "python", str(holes.index.root))
    holes.sync(cursor.path, cursor.text, "python")
    found = {name for name in only_members(holes, cursor, Deadline.after_ms(20_000)) if not name.startswith("__")}
    assert found == (expected or set())


SHAPES = """\
export enum Colour { Red, Green }
export enum Merged { A }
export namespace Merged { export const b = 1 }
"""
DRAWING = """\
import {{ Colour, Colour as Paint, Merged }} from "./shapes";
import * as shapes from "./shapes";
const enum Own {{ X, Y = 2 }}
const held: Held = {{ colour: Colour.Red }};
class Held {{ colour: Colour }}
function made(): Colour {{ return Colour.Red }}
function use(colour: Colour): void {{
  {use}
}}
"""


@pytest.fixture
def unchecked(tmp_path: Path) -> Iterator[TypedHoles]:
    """As most TypeScript users are: without a checker that answers."""
    (tmp_path / "shapes.ts").write_text(SHAPES)
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    with closing(TypedHoles(index, checkers=False)) as holes:
        yield holes


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("return colour === Colour.", {"Red", "Green"}),
        ("Colour.Gr", {"Green"}),
        ("if (Own.", {"X", "Y"}),
        ("colour.", set()),
        ("Paint.", {"Red", "Green"}),
        ("shapes.Colour.", {"Red", "Green"}),
        ("const alias = Colour; alias.", {"Red", "Green"}),
        ("const own: Own = Own.X; own.", set()),
        ("held.colour.", set()),
        ("made().", set()),
        ("Colour.Red.", set()),
        ("Merged.", set()),
        ("const Colour = theme(); Colour.", set()),
        ("Unheard.", set()),
    ],
)
def test_an_enum_has_the_members_that_it_declares(unchecked: TypedHoles, use: str, expected: set[str]) -> None:
    text = DRAWING.format(use=f"{use}\0")
    root = str(unchecked.index.root)
    cursor = Cursor(f"{root}/a.ts", text.replace("\0", ""), CharOffset(text.index("\0")), "typescript", root)
    unchecked.sync(cursor.path, cursor.text, "typescript")
    assert set(only_members(unchecked, cursor, Deadline.after_ms(20_000))) == expected
