"""Types as text: equal meanings are equal, and no text breaks the reader."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.context.items import CharOffset
from holefill.context.types.oracle import Diagnostic, Parameter
from holefill.context.types.replies import is_unknown, new_only, plain_type
from holefill.context.types.signature_text import parameters_in, return_type
from holefill.context.types.type_text import consistent, normalised, parse_type

SAME = [
    ("t.IO[t.Any] | None", "IO[Any] | None"),
    ("Optional[str]", "None | str"),
    ("Union[str, Optional[int]]", "int | str | None"),
    ("List['Foo']", "list[Foo]"),
    ("'Foo'", "pkg.Foo"),
    ("Callable[[int, str], bool]", "(int, str) -> bool"),
    ("Callable[..., int]", "(...) -> int"),
    ("(x: number, y?: A) => B", "(number, A) => B"),
    ("Map<string, number[]>", "Map<string, Array<number>>"),
    ("(str, /) -> str", "Callable[[str], str]"),
    ("Annotated[int, Field(gt=0)]", "int"),
]
DIFFERENT = [
    ("int", "str"),
    ("int | None", "int"),
    ("list[int]", "list[str]"),
    ("type[A]", "A"),
    ("(A) -> B", "(B) -> A"),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_same(left: str, right: str) -> None:
    assert normalised(left) == normalised(right)


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_different(left: str, right: str) -> None:
    assert normalised(left) != normalised(right)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab|[]<>(){}->=,.:?*/'\" \n", max_size=40))
def test_any_text_can_be_read(text: str) -> None:
    assert normalised(text) == normalised(text)
    assert parse_type(text).count() >= 1


@pytest.mark.parametrize(
    ("given", "wanted", "fits"),
    [
        ("int", "int | None", True),
        ("int | None", "int", True),
        ("str", "int", False),
        ("Dog", "Animal", True),
        ("Animal", "Dog", False),
        ("list[Dog]", "list[Animal]", True),
        ("Any", "int", True),
        ("list[int]", "list", True),
        ("dict[str, int]", "dict[str, str]", False),
    ],
)
def test_consistent(given: str, wanted: str, fits: bool) -> None:
    assert (
        consistent(parse_type(given), parse_type(wanted), lambda name, base: (name, base) == ("Dog", "Animal")) is fits
    )


@pytest.mark.parametrize("text", ["Unknown", "Any", "object", "Never", "", "list[Unknown]", "T@f", "_HoleT", "unknown"])
def test_unknown(text: str) -> None:
    assert is_unknown(text)


@pytest.mark.parametrize("text", ["int", "Account | None", "T | None", "dict[str, Any]", "Thing"])
def test_known(text: str) -> None:
    assert not is_unknown(text)


def test_plain_type() -> None:
    assert plain_type("type[CmdType@command] | \n None") == "type[CmdType] | None"
    assert plain_type("Amount | PromiseLike<Amount>") == "Amount"


def test_signatures() -> None:
    label, parameters = parameters_in("async def f(self, a: dict[str, int] = {1: 2}, *, b=(1, 2), **rest) -> list[A]")
    assert label.startswith("f(")
    assert [one.name for one in parameters] == ["self", "a", "b", "rest"]
    assert parameters[1].annotation == "dict[str, int]"
    assert return_type("f(a: (x: number) => string, b = 1): Promise<A>") == "Promise<A>"
    assert return_type("def f(a)") == ""
    assert Parameter("f?: (x: number) => string").annotation == "(x: number) => string"
    assert Parameter("k: str | None = None").annotation == "str | None"


def test_only_new_errors_are_told_nearest_first() -> None:
    def error(message: str, start: int) -> Diagnostic:
        return Diagnostic("code", message, CharOffset(start), CharOffset(start + 1))

    before = (error("old", 5),)
    after = (error("old", 9), error("old", 101), error("far", 400), error("near", 104))
    assert [one.message for one in new_only(after, before, 100)] == ["near", "far"]
    assert new_only((error("Function can implicitly return `None`", 1),), (), 0) == ()
