"""Members beyond a class's definition: offered where code proves that there are more, never as certain."""

from __future__ import annotations

import pytest

from holefill.context.types.alike import alike
from tests.context.types.conftest import Workspace

OPEN = """
class Linear:
    def solve(ctx, a):
        ctx.▮
        return a


class Norms(object):
    def norm(ctx, a): ...


class Context(Linear, Norms):
    def __init__(self):
        for name in table:
            setattr(self, name, 1)


def use(mp: Context, other: Linear):
    mp.zeta(1)
    other.strange
"""
SETS = """
class Code(int):
    def __new__(cls, value, phrase):
        obj = int.__new__(cls, value)
        obj.phrase = phrase
        return obj


def use(code: Code):
    code.▮
"""
CLOSED = """
class Plain:
    def a(self): ...


def first(thing: Plain):
    thing.▮


def second(thing: str):
    thing.upper()
"""
UNION = """
def use(content: str | bytes):
    content.▮
    return content
"""


def told(python: Workspace, marked: str) -> dict[str, bool]:
    return {member.name: member.certain for member in python.ask(marked).members}


def test_a_methods_own_object_may_be_of_a_subclass_with_other_bases(python: Workspace) -> None:
    index, path = python.holes.index, str(python.root / "case.py")
    index.update(path, OPEN.replace("▮", ""))
    found = told(python, OPEN)
    index.update(path, None)
    assert found["solve"]
    assert found["norm"] is False


def test_a_class_that_computes_names_may_have_those_in_use(python: Workspace) -> None:
    found = told(python, OPEN.replace("ctx.▮", "pass").replace("mp.zeta(1)", "mp.zeta(1)\n    mp.▮"))
    assert found["norm"]
    assert found["zeta"] is False
    assert "strange" not in found


def test_what_a_class_sets_on_objects_it_makes(python: Workspace) -> None:
    assert told(python, SETS)["phrase"] is False


def test_a_class_without_secrets_has_its_own_members_alone(python: Workspace) -> None:
    found = told(python, CLOSED)
    assert found["a"]
    assert "upper" not in found
    assert all(found.values())


def test_of_a_union_what_one_of_its_types_has(python: Workspace) -> None:
    found = told(python, UNION)
    assert found["upper"]
    assert found["encode"] is False
    assert found["decode"] is False


@pytest.mark.parametrize(
    ("marked", "wanted", "certain"),
    [
        ("def f(stream):\n    stream.seek(0)\n    stream.fileno()\n    stream.▮\n", "tell", False),
        ("def f(a, b):\n    a.strange\n    b(1).▮\n", "strange", False),
        ("x = __doc__ + '\\n'.▮\n", "join", True),
        ('x = f\'{b"".▮\n', "decode", True),
        ("x = [1].▮\n", "append", True),
    ],
)
def test_without_a_known_type(python: Workspace, marked: str, wanted: str, certain: bool) -> None:
    assert told(python, marked)[wanted] is certain


def test_types_by_what_is_done_with_a_value() -> None:
    assert "removesuffix" in list(alike(["upper", "startswith"]))
    assert list(alike(["__no_such__"])) == []
    assert list(alike([])) == []
