"""The floor alone: receivers bound as LANCE does, signatures by name, and silence in place of guesses."""

from __future__ import annotations

from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.types.typed_holes import TypedHole, TypedHoles

SHAPES = """
class Shape:
    name: str

    def area(self) -> float: ...


class Circle(Shape):
    radius: float

    def __init__(self, radius: float, label: str = "") -> None:
        self.radius = radius

    def scaled(self, factor: float) -> "Circle": ...

    def __enter__(self) -> "Circle": ...


def make(radius: float) -> Circle: ...
"""
CIRCLE = {"name", "area", "radius", "scaled"}
PYTHON = {
    "parameter": ("from shapes import Circle\ndef f(c: Circle):\n    c.▮\n", CIRCLE),
    "optional parameter": ("from shapes import Circle\ndef f(c: Circle | None = None):\n    c.▮\n", CIRCLE),
    "quoted annotation": ("from shapes import Circle\ndef f(c: 'Circle'):\n    c.▮\n", CIRCLE),
    "construction": ("from shapes import Circle\ndef f():\n    c = Circle(1)\n    c.▮\n", CIRCLE),
    "annotated variable": ("import shapes\ndef f(x):\n    c: shapes.Circle = x\n    c.▮\n", CIRCLE),
    "result": ("from shapes import make\ndef f():\n    c = make(1)\n    c.▮\n", CIRCLE),
    "result at once": ("from shapes import make\nmake(1).▮\n", CIRCLE),
    "method's result": ("from shapes import make\nmake(1).scaled(2).▮\n", CIRCLE),
    "with … as": ("from shapes import Circle\ndef f():\n    with Circle(1) as c:\n        c.▮\n", CIRCLE),
    "alias": ("from shapes import Circle as C\ndef f(c: C):\n    c.▮\n", CIRCLE),
    "dotted module": ("import shapes as s\ndef f(c: s.Circle):\n    c.▮\n", CIRCLE),
    "module": ("import shapes\nshapes.▮\n", {"Circle", "Shape", "make"}),
    "class": ("from shapes import Circle\nCircle.▮\n", CIRCLE),
    "self": ("from shapes import Circle\nclass D(Circle):\n    def f(self):\n        self.▮\n", CIRCLE | {"f"}),
    "field of self": (
        "from shapes import Circle\nclass D:\n    c: Circle\n    def f(self):\n        self.c.▮\n",
        CIRCLE,
    ),
    "module's variable": ("from shapes import Circle\nc = Circle(1)\nc.▮\n", CIRCLE),
    "module's variable in a function": ("from shapes import make\nc = make(1)\ndef f():\n    c.▮\n", CIRCLE),
    "the later binding": (
        "from shapes import Circle\ndef f(c: int):\n    c = Circle(1)\n    c.▮\n",
        CIRCLE,
    ),
    "seen elsewhere": ("def f(thing):\n    thing.open()\n    thing.close()\n    thing.▮\n", {"open", "close"}),
}


@pytest.fixture
def holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TypedHoles:
    monkeypatch.setattr("holefill.context.types.typed_holes.python_spec", lambda root: None)
    monkeypatch.setattr("holefill.context.types.typed_holes.typescript_spec", lambda root, setting: None)
    (tmp_path / "shapes.py").write_text(SHAPES)
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    return TypedHoles(index)


def ask(holes: TypedHoles, marked: str, name: str = "main.py", language: str = "python") -> TypedHole:
    root = str(holes.index.root)
    cursor = Cursor(f"{root}/{name}", marked.replace("▮", ""), CharOffset(marked.index("▮")), language, root)
    return holes.query(cursor, Deadline.after_ms(5000))


@pytest.mark.parametrize("case", PYTHON)
def test_members(holes: TypedHoles, case: str) -> None:
    marked, wanted = PYTHON[case]
    found = ask(holes, marked)
    assert wanted <= {member.name for member in found.members}
    certain = {member.name for member in found.members if member.certain}
    assert certain == set() if case == "seen elsewhere" else wanted <= certain


def test_only_members_that_exist_when_the_class_is_known(holes: TypedHoles) -> None:
    marked = "from shapes import Circle\ndef g(c):\n    c.colour\ndef f(c: Circle):\n    c.▮\n"
    assert "colour" not in {member.name for member in ask(holes, marked).members}


@pytest.mark.parametrize(
    "bound",
    ["c = Circle(1)\nc = other()\n", "c = Circle(1).area()\n", "c = [Circle(1)]\n", "c = {a: Circle(1)}\n"],
)
def test_a_variable_that_may_be_something_else_is_not_certain(holes: TypedHoles, bound: str) -> None:
    members = ask(holes, f"from shapes import Circle\n{bound}c.▮\n").members
    assert not any(member.certain for member in members)


def test_signatures_and_wanted_types_by_name(holes: TypedHoles) -> None:
    found = ask(holes, "from shapes import Circle\nCircle(1, ▮)\n")
    assert found.signature is not None
    assert [one.name for one in found.signature.parameters] == ["radius", "label"]
    assert found.signature.active == 1
    assert found.expected_type is not None
    assert found.expected_type.text == "str"
    by_keyword = ask(holes, "from shapes import make\nmake(1).scaled(factor=▮)\n")
    assert by_keyword.expected_type is not None
    assert by_keyword.expected_type.text == "float"


@pytest.mark.parametrize("statement", ["if ▮:\n    pass", "while ▮:\n    pass", "x = 1 if ▮ else 2", "assert ▮"])
def test_conditions_are_bool(holes: TypedHoles, statement: str) -> None:
    found = ask(holes, f"{statement}\n")
    assert found.expected_type is not None
    assert found.expected_type.text == "bool"


@pytest.mark.parametrize("marked", ["unheard(▮)\n", "x = ▮\n", "▮\n", "def f(a): ...\nf(▮)\n"])
def test_nothing_is_guessed(holes: TypedHoles, marked: str) -> None:
    assert ask(holes, marked).expected_type is None


@pytest.mark.parametrize(
    ("name", "language", "marked"),
    [
        ("a.go", "go", "package a\n\nfunc F() int {\n\treturn ▮\n}\n"),
        ("a.rs", "rust", "fn f() -> i32 {\n    g(▮)\n}\n"),
        ("A.java", "java", "class A { int f() { return this.▮; } }\n"),
        ("a.cpp", "cpp", "int f() { return g(▮); }\n"),
        ("a.cs", "csharp", "class A { int F() { return G(▮); } }\n"),
        ("a.txt", "text", "some ▮ words"),
    ],
)
def test_other_languages_have_the_floor(holes: TypedHoles, name: str, language: str, marked: str) -> None:
    found = ask(holes, marked, name, language)
    assert found.expected_type is None or found.hole is not None
    assert (found.reason == "no hole") is (language == "text")


def test_typescript_without_a_checker(holes: TypedHoles) -> None:
    circle = "class Circle { radius: number = 1; scaled(by: number): Circle { return this } }\n"
    marked = circle + "function f(c: Circle) {\n  c.▮\n}\n"
    assert {"radius", "scaled"} <= {member.name for member in ask(holes, marked, "a.ts", "typescript").members}
