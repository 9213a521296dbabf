"""Hand-made holes, as a user leaves them while typing; ty must say what is wanted at each."""

from __future__ import annotations

import pytest

from holefill.context.types.type_text import normalised
from tests.context.types.conftest import Workspace

IMPORTS = (
    "import asyncio\n"
    "from bank import Account, Amount, Box, Currency, Dollar, Euro, Options, Transaction, create_amount, each, find\n"
    "from collections.abc import Awaitable, Callable, Iterator\n"
)
INSIDE = (
    "def work(account: Account, amount: Amount, box: Box[int], table: dict[str, list[Amount]], name: str)"
    " -> None:\n    "
)

EXPECTED = {
    "positional argument, call left open": (INSIDE + "account.pay(▮", "Amount"),
    "second argument": (INSIDE + "account.pay(amount, ▮)", "str"),
    "keyword argument": (INSIDE + "account.pay(amount, name, urgent=▮", "bool"),
    "constructor argument": (INSIDE + "Amount(1, ▮)", "Currency | Euro | Dollar"),
    "optional argument": (INSIDE + "find(name, ▮)", "Account | None"),
    "optional keyword": (INSIDE + "find(name, fallback=▮)", "Account | None"),
    "argument of a nested call": (INSIDE + "account.pay(create_amount(▮, Euro(1)), name)", "int"),
    "argument on its own line": (INSIDE + "account.pay(\n        ▮\n        name,\n    )", "Amount"),
    "return": ("def make() -> Amount:\n    return ▮\n", "Amount"),
    "optional return": ("def make() -> Amount | None:\n    return ▮\n", "Amount | None"),
    "return in a method": (
        "class Bank:\n    def one(self) -> Account:\n        return ▮\n\n    def two(self): ...\n",
        "Account",
    ),
    "annotated variable": (INSIDE + "total: Amount = ▮", "Amount"),
    "annotated union": (INSIDE + "total: Amount | str | None = ▮", "Amount | str | None"),
    "annotated at module level": ("default: Account = ▮\n", "Account"),
    "class field": ("class Bank:\n    main: Account = ▮\n", "Account"),
    "parameter default": ("def pay(amount: Amount = ▮): ...\n", "Amount"),
    "attribute": (INSIDE + "account.amount = ▮", "Amount"),
    "subscript": (INSIDE + "table[name] = ▮", "list[Amount]"),
    "index": (INSIDE + "table[▮", "str"),
    "operand": (INSIDE + "name + ▮", "str"),
    "comparison": (INSIDE + "if account.amount == ▮:\n        pass", "Amount"),
    "condition": (INSIDE + "if ▮:\n        pass", "bool"),
    "generic method": (INSIDE + "box.put(▮)", "int"),
    "list element": (INSIDE + "items: list[Amount] = [amount, ▮]", "Amount"),
    "dict value": (INSIDE + "known: dict[str, Amount] = {name: ▮}", "Amount"),
    "typed dict value": (INSIDE + 'options: Options = {"depth": ▮', "int"),
    "branch of a conditional": (INSIDE + "total: Amount = amount if name else ▮", "Amount"),
    "yield": ("def all_amounts() -> Iterator[Amount]:\n    yield ▮\n", "Amount"),
    "comprehension": (INSIDE + "items: list[Amount] = [▮ for _ in name]", "Amount"),
    "lambda body": (INSIDE + "act: Callable[[int], Amount] = lambda number: ▮", "Amount"),
}

MEMBERS = {
    "parameter": (INSIDE + "account.▮", {"owner", "amount", "history", "pay", "limit"}),
    "typed name": (INSIDE + "account.pa▮", {"pay"}),
    "field of a field": (INSIDE + "account.amount.▮", {"value", "currency", "doubled"}),
    "result of a call": (INSIDE + "find(name).▮", {"owner", "pay"}),
    "result of a method": (INSIDE + "account.pay(amount, name).▮", {"sender", "receiver", "notes"}),
    "in an argument": (INSIDE + "account.pay(account.▮, name)", {"amount", "pay"}),
    "in a call left open": (INSIDE + "account.pay(account.▮", {"amount", "pay"}),
    "before a call": (INSIDE + "account.▮(amount, name)", {"pay"}),
    "local variable": (INSIDE + "mine = find(name)\n    mine.▮", {"owner", "pay"}),
    "constructed": (INSIDE + "Amount(1, Euro(2)).▮", {"value", "doubled"}),
    "element of a list": (INSIDE + "account.history[0].▮", {"sender", "amount"}),
    "loop variable": (INSIDE + "for one in account.history:\n        one.▮", {"sender", "amount"}),
    "with … as": (INSIDE + "with account as entered:\n        entered.▮", {"owner", "pay"}),
    "self": ("class Bank:\n    main: Account\n\n    def run(self) -> None:\n        self.▮\n", {"main", "run"}),
    "self's field": (
        "class Bank:\n    main: Account\n\n    def run(self) -> None:\n        self.main.▮\n",
        {"owner", "pay"},
    ),
    "module": ("import bank\n\nbank.▮\n", {"Account", "create_amount"}),
}

SIGNATURES = {
    "first": (INSIDE + "account.pay(▮", "amount", 0),
    "second": (INSIDE + "account.pay(amount, ▮", "to", 1),
    "keyword": (INSIDE + "account.pay(amount, name, urgent=▮)", "urgent", 2),
    "function": (INSIDE + "create_amount(1, ▮)", "currency", 1),
    "constructor": (INSIDE + "Account(▮)", "owner", 0),
    "dataclass": (INSIDE + "Transaction(name, ▮)", "receiver", 1),
    "inner of two": (INSIDE + "account.pay(create_amount(▮, name", "value", 0),
    "over several lines": (INSIDE + "account.pay(\n        amount,\n        ▮\n    )", "to", 1),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_expected_type(python: Workspace, case: str) -> None:
    marked, wanted = EXPECTED[case]
    found = python.ask(IMPORTS + marked)
    assert found.expected_type is not None, found.reason
    alternatives = {normalised(wanted), normalised("Euro | Dollar") if "Currency" in wanted else normalised(wanted)}
    assert normalised(found.expected_type.text) in alternatives


@pytest.mark.parametrize("case", MEMBERS)
def test_members(python: Workspace, case: str) -> None:
    marked, wanted = MEMBERS[case]
    found = python.ask(IMPORTS + marked)
    assert wanted <= {member.name for member in found.members}


def test_of_a_receiver_of_no_known_type_the_members_seen_in_use_are_offered(python: Workspace) -> None:
    """The checker offers what every object has there; what the file takes from anything else comes behind."""
    found = python.ask(IMPORTS + "def walk(graph):\n    graph.add_node(1)\n\ndef run(graph):\n    graph.▮\n")
    assert found.members[0].name == "add_node"
    assert not any(member.certain for member in found.members)


@pytest.mark.parametrize("case", SIGNATURES)
def test_signature(python: Workspace, case: str) -> None:
    marked, name, active = SIGNATURES[case]
    found = python.ask(IMPORTS + marked).signature
    assert found is not None
    assert found.active == active
    assert found.parameters[active].name == name


@pytest.mark.parametrize(
    "marked",
    [
        INSIDE + "unheard_of(▮)",
        INSIDE + "print(▮)",
        INSIDE + "name.no_such_method(▮)",
        "def untyped(a, b): ...\nuntyped(1, ▮)\n",
        INSIDE + "▮",
    ],
)
def test_what_is_not_known_is_not_guessed(python: Workspace, marked: str) -> None:
    assert python.ask(IMPORTS + marked).expected_type is None


@pytest.mark.parametrize(
    "marked", ["# a comment ▮\n", 'text = "in a string ▮"\n', "import ▮\n", "from bank import ▮\n"]
)
def test_no_hole(python: Workspace, marked: str) -> None:
    assert python.ask(marked).hole is None


def test_columns_after_wide_characters(python: Workspace) -> None:
    found = python.ask(IMPORTS + INSIDE + 'account.pay(Amount(len("🦉é字"), Euro(1)), ▮)')
    assert found.expected_type is not None
    assert found.expected_type.text == "str"


def test_locations_point_into_the_user_s_files(python: Workspace) -> None:
    found = python.ask(IMPORTS + "class Mine: ...\ndef take(mine: Mine): ...\n\n\ntake(▮)\n")
    assert found.expected_type is not None
    assert [(one.path.rpartition("/")[2], one.line) for one in found.expected_type.locations] == [("case.py", 3)]
