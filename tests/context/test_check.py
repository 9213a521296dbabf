"""What a fill brings in that is wrong: found with the floor alone, and with a checker; right fills are left alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holefill.context import check as module
from holefill.context.check import Checked, Kind, check, missing_imports
from holefill.context.index.files import FileRules
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.syntax.languages import language_of
from holefill.context.syntax.parsing import parse
from holefill.context.types.fill_floor import FillFloor
from holefill.context.types.lsp_oracle import LspOracle
from holefill.context.types.scope import Scope
from holefill.context.types.typed_holes import TypedHoles

SHOP = """
class Price:
    cents: int

    def __init__(self, cents: int, *, currency: str = "EUR") -> None:
        self.cents = cents
        self.currency = currency

    def doubled(self) -> "Price":
        return Price(self.cents * 2)


def discount(price: Price, percent: int, reason: str = "") -> Price:
    return price
"""
REPORT = """
def summarise(total: int) -> str:
    return str(total)
"""
MAIN = """
from shop import Price, discount


def work(price: Price, amount: int) -> Price:
    unrelated = undefined_already
    result = ▮
    return result
"""
WRONG = {
    "unknown name": ("amont", Kind.NAME, "amont", "amount"),
    "unknown member": ("price.cent", Kind.MEMBER, "cent", "cents"),
    "unknown method": ("price.double()", Kind.MEMBER, "double", "doubled"),
    "member of a result": ("discount(price, 1).centz", Kind.MEMBER, "centz", "cents"),
    "too many arguments": ("discount(price, 1, 'a', 2)", Kind.ARITY, "discount", ""),
    "missing argument": ("discount(price)", Kind.ARITY, "discount", ""),
    "unknown keyword": ("discount(price, percentage=3)", Kind.KEYWORD, "percentage", "percent"),
    "constructor's keyword": ("Price(1, curency='USD')", Kind.KEYWORD, "curency", "currency"),
    "method's argument": ("price.doubled(2)", Kind.ARITY, "doubled", ""),
    "not imported": ("summarise(amount)", Kind.IMPORT, "summarise", ""),
    "standard module not imported": ("json.dumps(amount)", Kind.IMPORT, "json", ""),
    "cannot be parsed": ("discount(price, )) + (", Kind.SYNTAX, "", ""),
}
RIGHT = [
    "price",
    "price.doubled().cents",
    "discount(price, amount, reason='late')",
    "discount(price, percent=amount)",
    "discount(*[price, amount])",
    "Price(amount, currency='USD')",
    "[one.cents for one in [price]][0]",
    "(lambda first: first)(price)",
    "max(amount, len(unrelated))",
    "discount(\n        price,\n        amount,",
    "price if amount else Price(amount",
]
TYPES_WRONG = ["discount(amount, 1)", "discount(price, 'one')", "Price('1')", "price + 'x'"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP)
    (folder / "reports").mkdir()
    (folder / "reports" / "__init__.py").write_text("")
    (folder / "reports" / "text.py").write_text(REPORT)
    return folder


@pytest.fixture(scope="module")
def with_checker(root: Path) -> Iterator[TypedHoles]:
    index = WorkspaceIndex(root)
    index.refresh()
    holes = TypedHoles(index)
    oracle = holes.layer("python").oracle
    assert isinstance(oracle, LspOracle)
    until = time.monotonic() + 20
    while oracle.reason == "starting" and time.monotonic() < until:
        time.sleep(0.02)
    yield holes
    holes.close()


@pytest.fixture
def floor_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> TypedHoles:
    monkeypatch.setattr("holefill.context.types.typed_holes.python_spec", lambda root: None)
    index = WorkspaceIndex(root)
    index.refresh()
    return TypedHoles(index)


def checked(holes: TypedHoles, fill: str, marked: str = MAIN) -> Checked:
    offset = CharOffset(marked.index("▮"))
    root = str(holes.index.root)
    cursor = Cursor(f"{root}/main.py", marked.replace("▮", ""), offset, "python", root)
    return check(holes, cursor, fill, Deadline.after_ms(20_000))


@pytest.mark.parametrize("case", WRONG)
def test_the_floor_finds(floor_only: TypedHoles, case: str) -> None:
    fill, kind, name, near = WRONG[case]
    found = checked(floor_only, fill)
    assert not found.checked
    assert [(one.kind, one.name, one.nearest) for one in found.problems][:1] == [(kind, name, near)]


@pytest.mark.parametrize("case", WRONG)
def test_the_checker_finds(with_checker: TypedHoles, case: str) -> None:
    fill, kind, _, near = WRONG[case]
    found = checked(with_checker, fill)
    assert found.checked or kind is Kind.SYNTAX
    assert kind in {one.kind for one in found.problems}
    if near:
        assert near in {one.nearest for one in found.problems}


@pytest.mark.parametrize("fill", RIGHT)
def test_right_fills_are_left_alone(floor_only: TypedHoles, with_checker: TypedHoles, fill: str) -> None:
    assert checked(floor_only, fill).problems == ()
    found = checked(with_checker, fill)
    assert [one for one in found.problems if one.kind is not Kind.TYPE] == []


@pytest.mark.parametrize("fill", TYPES_WRONG)
def test_types_are_the_checker_s(floor_only: TypedHoles, with_checker: TypedHoles, fill: str) -> None:
    assert checked(floor_only, fill).problems == ()
    assert {one.kind for one in checked(with_checker, fill).problems} == {Kind.TYPE}


def test_the_import_that_fixes_it(floor_only: TypedHoles) -> None:
    assert checked(floor_only, "summarise(1)").problems[0].fix == "from reports.text import summarise"
    assert checked(floor_only, "json.dumps(1)").problems[0].fix == "import json"


def test_places_are_those_of_the_filled_text(floor_only: TypedHoles, with_checker: TypedHoles) -> None:
    fill = "discount(price, len('é🦉')).centz"
    text = MAIN.replace("▮", fill)
    for holes in (floor_only, with_checker):
        problem = checked(holes, fill).problems[0]
        assert text[problem.start : problem.end].endswith("centz")


@pytest.mark.parametrize(
    ("text", "fill"),
    [
        ("from os.path import *\n▮\n", "whatever(1)"),  # a star may bring anything
        ("import unheard\n\nclass A(unheard.B):\n    def f(self):\n        self.▮\n", "anything"),
        ("def deco(f): ...\n\n@deco\ndef f(a): ...\n\n▮\n", "f(1, 2, 3)"),
        ("class A:\n    def __getattr__(self, name): ...\n\ndef g(a: A):\n    a.▮\n", "anything"),
        ("# a comment ▮\n", "with words"),
    ],
)
def test_the_floor_keeps_silent_without_proof(floor_only: TypedHoles, text: str, fill: str) -> None:
    assert checked(floor_only, fill, text).problems == ()


@pytest.mark.parametrize("max_bytes", [10_000, 300])
def test_nothing_is_said_of_a_file_too_large_to_be_indexed(tmp_path: Path, max_bytes: int) -> None:
    (tmp_path / "shop.py").write_text("class Price: ...\n")
    (tmp_path / "shop.ts").write_text("export class Basket {}\n")
    index = WorkspaceIndex(tmp_path, rules=FileRules(max_bytes=max_bytes))
    index.refresh()
    holes = TypedHoles(index, checkers=False)
    for name, line, fill in (("main.py", "x = 1\n", "Price()"), ("main.ts", "x = 1;\n", "new Basket()")):
        cursor = Cursor(str(tmp_path / name), "\n" + line * 100, CharOffset(0), language_of(name), str(tmp_path))
        found = missing_imports(holes, cursor, fill, Deadline.after_ms(20_000))
        assert bool(found) == (max_bytes > len(cursor.text))


@pytest.mark.parametrize(
    "text", ["x = f(▮\ny = 1\n", "x = [\n    ▮\n    2,\n]\n", "def f(a):\n    if ▮\n    return a\n"]
)
@pytest.mark.parametrize("fill", ["a", "a,", "a)", "a:", "g(a)", "a]", "a and b:", "a, (b"])
def test_the_order_of_closers_changes_only_what_it_costs(
    floor_only: TypedHoles, monkeypatch: pytest.MonkeyPatch, text: str, fill: str
) -> None:
    found = checked(floor_only, fill, text)
    monkeypatch.setattr(module, "_still_lacks", lambda *asked: False)
    assert [one.kind for one in found.problems] == [one.kind for one in checked(floor_only, fill, text).problems]


@pytest.mark.parametrize(
    ("filled", "inserted", "first"),
    [
        ("x = f(a▮\ny = 1\n", ")", ")"),
        ("x = f(a)▮\ny = 1\n", ")", ""),
        ("x = [\n    a▮\n    2,\n]\n", ",", ","),
        ("x = [\n    a,▮\n    2,\n]\n", ",", ""),
        ("x = a▮\n", "", ""),
    ],
)
def test_the_closer_that_a_filled_text_still_lacks_is_tried_first(filled: str, inserted: str, first: str) -> None:
    """Each that fails costs a parse of the file."""
    assert next(module._tails("python", filled.replace("▮", ""), filled.index("▮"), inserted)) == first


def test_a_wrong_member_in_typescript_has_a_nearest_right_one(tmp_path: Path) -> None:
    """For what a checker complains about; alone the floor is sure of enums only."""
    text = "class Basket { total = 1; first(): void {} }\nfunction use(basket: Basket) { basket.totl }\n"
    index, parsed = WorkspaceIndex(tmp_path), parse("typescript", text)
    start = text.index("totl")
    floor = FillFloor(Scope(index, "a.ts", parsed), parsed, start, start + len("totl"))
    node = floor.node_at(start, start + 1)
    assert node is not None
    assert node.parent is not None
    assert floor.nearest_member(node.parent) == "total"
    assert floor.problems() == []
