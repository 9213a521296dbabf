"""Hand-made holes in TypeScript; TypeScript 7 must say what is wanted at each."""

from __future__ import annotations

import pytest

from holefill.context.types.type_text import normalised
from tests.context.types.conftest import Workspace

IMPORTS = (
    "import { Account, Amount, Box, Currency, Dollar, Euro, Options, Transaction, createAmount, each, find }"
    ' from "./bank";\n'
)
INSIDE = (
    "function work(account: Account, amount: Amount, box: Box<number>, table: Map<string, Amount>,"
    " rows: Amount[][], name: string) {\n    "
)
END = "\n}\nfunction after() { return 1; }\n"

EXPECTED = {
    "positional argument, call left open": (INSIDE + "account.pay(▮" + END, "Amount"),
    "second argument": (INSIDE + "account.pay(amount, ▮)" + END, "string"),
    "default argument": (INSIDE + "account.pay(amount, name, ▮" + END, "boolean | undefined"),
    "constructor argument": (INSIDE + "new Account(name, ▮)" + END, "Amount"),
    "optional argument": (INSIDE + "find(name, ▮)" + END, "Account | null | undefined"),
    "argument of a nested call": (INSIDE + "account.pay(createAmount(▮), name)" + END, "number"),
    "argument on its own line": (INSIDE + "account.pay(\n        ▮\n        name,\n    )" + END, "Amount"),
    "union alias": (INSIDE + "createAmount(1, ▮)" + END, "Currency"),
    "return": ("function make(): Amount {\n    return ▮\n}\n", "Amount"),
    "optional return": ("function make(): Amount | undefined {\n    return ▮\n}\n", "Amount | undefined"),
    "return in a method": ("class Bank {\n    one(): Account {\n        return ▮\n    }\n    two() {}\n}\n", "Account"),
    "return of an async function": ("async function make(): Promise<Amount> {\n    return ▮\n}\n", "Amount"),
    "annotated const": (INSIDE + "const total: Amount = ▮" + END, "Amount"),
    "annotated union": (INSIDE + "const total: Amount | null = ▮" + END, "Amount | null"),
    "class field": ("class Bank {\n    main: Account = ▮\n}\n", "Account"),
    "parameter default": ("function pay(amount: Amount = ▮) {}\n", "Amount"),
    "property": (INSIDE + "account.amount = ▮" + END, "Amount"),
    "element": (INSIDE + "rows[0] = ▮" + END, "Amount[]"),
    "comparison": (INSIDE + "if (account.owner === ▮) {}" + END, "string"),
    "condition": (INSIDE + "if (▮) {}" + END, "boolean"),
    "loop condition": (INSIDE + "while (▮) {}" + END, "boolean"),
    "generic method": (INSIDE + "box.put(▮)" + END, "number"),
    "method of a library type": (INSIDE + "table.get(▮)" + END, "string"),
    "array element": (INSIDE + "const items: Amount[] = [amount, ▮]" + END, "Amount"),
    "object property": (INSIDE + "const options: Options = { depth: ▮ }" + END, "number"),
    "branch of a conditional": (INSIDE + "const total: Amount = name ? amount : ▮" + END, "Amount"),
    "arrow body": (INSIDE + "const act: (n: number) => Amount = (n) => ▮" + END, "Amount"),
    "callback's result": (INSIDE + "each([amount], (one) => ▮)" + END, "string"),
}

MEMBERS = {
    "parameter": (INSIDE + "account.▮" + END, {"owner", "amount", "history", "pay", "limit"}),
    "typed name": (INSIDE + "account.pa▮" + END, {"pay"}),
    "field of a field": (INSIDE + "account.amount.▮" + END, {"value", "currency", "doubled"}),
    "result of a call": (INSIDE + "find(name).▮" + END, {"owner", "pay"}),
    "result of a method": (INSIDE + "account.pay(amount, name).▮" + END, {"sender", "receiver"}),
    "in an argument": (INSIDE + "account.pay(account.▮, name)" + END, {"amount", "pay"}),
    "in a call left open": (INSIDE + "account.pay(account.▮" + END, {"amount", "pay"}),
    "before a call": (INSIDE + "account.▮(amount, name)" + END, {"pay"}),
    "local variable": (INSIDE + "const mine = find(name);\n    mine.▮" + END, {"owner", "pay"}),
    "constructed": (INSIDE + "new Account(name, amount).▮" + END, {"owner", "pay"}),
    "element of an array": (INSIDE + "account.history[0].▮" + END, {"sender", "amount"}),
    "loop variable": (INSIDE + "for (const one of account.history) {\n        one.▮\n    }" + END, {"sender"}),
    "this": ("class Bank {\n    main!: Account;\n    run() {\n        this.▮\n    }\n}\n", {"main", "run"}),
}

SIGNATURES = {
    "first": (INSIDE + "account.pay(▮" + END, "amount", 0),
    "second": (INSIDE + "account.pay(amount, ▮)" + END, "to", 1),
    "function": (INSIDE + "createAmount(1, ▮" + END, "currency", 1),
    "constructor": (INSIDE + "new Account(▮)" + END, "owner", 0),
    "inner of two": (INSIDE + "account.pay(createAmount(▮, name" + END, "value", 0),
    "over several lines": (INSIDE + "account.pay(\n        amount,\n        ▮\n    )" + END, "to", 1),
    "generic": (INSIDE + "box.put(▮)" + END, "content", 0),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_expected_type(typescript: Workspace, case: str) -> None:
    marked, wanted = EXPECTED[case]
    found = typescript.ask(IMPORTS + marked)
    assert found.expected_type is not None, found.reason
    assert normalised(found.expected_type.text) == normalised(wanted)


@pytest.mark.parametrize("case", MEMBERS)
def test_members(typescript: Workspace, case: str) -> None:
    marked, wanted = MEMBERS[case]
    found = typescript.ask(IMPORTS + marked)
    assert wanted <= {member.name for member in found.members}


@pytest.mark.parametrize("case", SIGNATURES)
def test_signature(typescript: Workspace, case: str) -> None:
    marked, name, active = SIGNATURES[case]
    found = typescript.ask(IMPORTS + marked).signature
    assert found is not None
    assert found.active == active
    assert found.parameters[active].name == name


def test_what_is_not_known_is_not_guessed(typescript: Workspace) -> None:
    assert typescript.ask(IMPORTS + INSIDE + "unheardOf(▮)" + END).expected_type is None
    assert typescript.ask(IMPORTS + INSIDE + "JSON.stringify(▮)" + END).expected_type is None
