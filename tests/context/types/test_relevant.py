"""The figure of the ChatLSP paper, in TypeScript and in Python, answered by the floor alone: no checker is needed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.types.relevant_headers import HeaderTable
from holefill.context.types.type_text import parse_type
from holefill.context.types.typed_holes import TypedHole, TypedHoles

TYPESCRIPT = """
type Transaction = { sender: string; amount: Amount; next?: Transaction };
type Amount = { value: number; currency: Currency };
type Currency = Dollar | Euro;
type Dollar = { kind: "dollar" };
type Euro = { kind: "euro" };
type Unrelated = { x: number };
function createAmount(value: number, currency: Currency): Amount { return { value, currency }; }
function createOther(): Unrelated { return { x: 1 }; }
"""
PYTHON = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Generic, Optional, TypeVar, Union

T = TypeVar("T")

@dataclass
class Transaction:
    sender: str
    amount: Optional[Amount]
    next: Optional["Transaction"] = None

@dataclass
class Amount(Quantity[int]):
    currency: Currency

class Quantity(Generic[T]):
    value: T

Currency = Union["Dollar", Euro]

class Dollar: ...

class Euro: ...

class Unrelated: ...

def create_amount(value: int, currency: Currency) -> Amount: ...
def create_other() -> Unrelated: ...
"""


def ask(root: Path, name: str, text: str, marked: str) -> TypedHole:
    (root / name).write_text(text)
    index = WorkspaceIndex(root)
    index.refresh()
    holes = TypedHoles(index)
    source = text + marked
    language = "python" if name.endswith(".py") else "typescript"
    cursor = Cursor(str(root / name), source.replace("▮", ""), CharOffset(source.index("▮")), language, str(root))
    try:
        return holes.query(cursor, Deadline.after_ms(20_000))
    finally:
        holes.close()


@pytest.fixture
def no_checkers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holefill.context.types.typed_holes.python_spec", lambda root: None)
    monkeypatch.setattr("holefill.context.types.typed_holes.typescript_spec", lambda root, setting: None)


@pytest.mark.usefixtures("no_checkers")
class TestChatLspFigure:
    def test_types_of_a_transaction_in_typescript(self, tmp_path: Path) -> None:
        found = ask(tmp_path, "bank.ts", TYPESCRIPT, "const t: Transaction = ▮;\n")
        names = [one.name for one in found.types]
        assert set(names) == {"Transaction", "Amount", "Currency", "Dollar", "Euro"}
        assert names.index("Currency") < names.index("Amount") < names.index("Transaction")
        assert names.index("Dollar") < names.index("Currency")

    def test_header_of_an_amount_in_typescript(self, tmp_path: Path) -> None:
        found = ask(tmp_path, "bank.ts", TYPESCRIPT, "const a: Amount = ▮;\n")
        assert [header.name for header in found.headers] == ["createAmount"]

    def test_types_in_python(self, tmp_path: Path) -> None:
        found = ask(tmp_path, "bank.py", PYTHON, "t: Transaction = ▮\n")
        names = [one.name for one in found.types]
        assert set(names) == {"Transaction", "Amount", "Currency", "Dollar", "Euro", "Quantity"}
        assert names.index("Currency") < names.index("Amount") < names.index("Transaction")
        assert names.count("Transaction") == 1

    def test_headers_in_python_are_functions_and_constructors(self, tmp_path: Path) -> None:
        found = ask(tmp_path, "bank.py", PYTHON, "a: Optional[Amount] = ▮\n")
        assert {header.name for header in found.headers} == {"create_amount", "Amount"}

    def test_a_subclass_will_do(self, tmp_path: Path) -> None:
        text = PYTHON + "class Rounded(Amount): ...\ndef rounded() -> Rounded: ...\n"
        found = ask(tmp_path, "bank.py", text, "a: Amount = ▮\n")
        assert {"rounded", "Rounded"} <= {header.name for header in found.headers}

    def test_at_most_eight(self, tmp_path: Path) -> None:
        text = PYTHON + "".join(f"def make_{number}() -> Amount: ...\n" for number in range(30))
        assert len(ask(tmp_path, "bank.py", text, "a: Amount = ▮\n").headers) == 8


@pytest.mark.usefixtures("no_checkers")
def test_definitions_come_from_other_files(tmp_path: Path) -> None:
    (tmp_path / "money.py").write_text("from cents import Cents\nclass Money:\n    cents: Cents\n")
    (tmp_path / "cents.py").write_text("class Cents:\n    count: int\n    def of(self) -> 'Cents': ...\n")
    found = ask(tmp_path, "use.py", "import money as m\n", "x: m.Money = ▮\n")
    assert [one.text for one in found.types] == ["class Cents:\n    count: int", "class Money:\n    cents: Cents"]
    assert [one.located.path for one in found.types] == ["cents.py", "money.py"]


def test_a_table_that_follows_changes_equals_a_fresh_one(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("class Base: ...\nclass Kind(Base): ...\ndef make() -> Kind: ...\n")
    (tmp_path / "b.py").write_text("from a import Base\nclass Other(Base): ...\ndef other() -> Other: ...\n")
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    table = HeaderTable(index)
    soon = Deadline.after_ms(60_000)
    table.update(soon)
    assert {one.name for one in table.returning(parse_type("Base"))} == {"Base", "Kind", "make", "Other", "other"}
    index.update("b.py", "from a import Kind\nclass Other(Kind): ...\ndef another() -> Other: ...\n")
    index.update("c.py", "from b import Other\ndef third() -> Other: ...\n")
    index.update("a.py", None)
    table.update(soon)
    fresh = HeaderTable(index)
    fresh.update(soon)
    for name in ("Base", "Kind", "Other"):
        wanted = parse_type(name)
        assert [one.text for one in table.returning(wanted)] == [one.text for one in fresh.returning(wanted)]
        assert table.is_subtype("Other", name) == fresh.is_subtype("Other", name) == (name == "Kind")
    assert {one.name for one in table.returning(parse_type("Kind"))} == {"Other", "another", "third"}


def test_subclasses_follow_edits_and_removals(tmp_path: Path) -> None:
    """After each of many random changes a table that was asked all along says what a fresh one says."""
    draw = random.Random(0)
    index, names = WorkspaceIndex(tmp_path), [f"K{number}" for number in range(8)]
    table = HeaderTable(index)
    for _ in range(120):
        path = str(tmp_path / f"{draw.choice('abc')}.py")
        lines = [f"class {name}({draw.choice(names)}): ...\n" for name in draw.sample(names, 3)]
        index.update(path, draw.choice([None, "".join(lines), "".join(lines) + "def f() -> K1: ...\n"]))
        fresh = HeaderTable(index)
        for one in (table, fresh):
            assert one.update(Deadline.after_ms(20_000))
        assert [table.below(name) for name in names] == [fresh.below(name) for name in names]
