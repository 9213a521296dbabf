"""Relevant types: the definitions of the types that an expected type mentions, transitively, dependencies first.

"Statically contextualizing large language models with typed holes", `collect_aliases_deep`: recurse over the bodies,
each type once, recursive ones too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from holefill.context.index.records import Located
from holefill.context.provider import Deadline
from holefill.context.types.scope import CLASSES, Scope, base_names
from holefill.context.types.type_text import parse_type

_MAX_TYPES = 24
_MAX_FIELDS = 24
_NAME = re.compile(r"[^\W\d][\w.]*")
_ALIAS = re.compile(r"=(?!>)\s*(.+)$", re.S)
_TYPE_ALIAS_VALUE = re.compile(
    r"""^(?:Union|Optional|Literal|Callable|Annotated|NewType|[\w.]*\[|["']|[\w."'\[\], ]+\|)"""
)


@dataclass(frozen=True, slots=True)
class RelevantType:
    name: str
    text: str
    """Its definition without method bodies."""
    located: Located


def relevant_types(scope: Scope, wanted: str, deadline: Deadline) -> tuple[RelevantType, ...]:
    found: list[RelevantType] = []
    seen: set[str] = set()

    def visit(at: Scope, name: str) -> None:
        located = at.resolve(name)
        if located is None or located.symbol is None or located.id in seen or len(seen) >= _MAX_TYPES:
            return
        if not _is_type(located) or deadline.expired():
            return
        seen.add(located.id)
        inner = at.at(located.path)
        for mentioned in _mentioned(inner, located):
            visit(inner, mentioned)
        found.append(RelevantType(located.symbol.name, describe(inner, located), located))

    for name in _names(wanted):
        visit(scope, name)
    return tuple(found)


def describe(scope: Scope, located: Located) -> str:
    """A type alias as it is, a class as its head and its fields; an interface with its methods."""
    symbol = located.symbol
    assert symbol is not None  # callers pass definitions
    if symbol.kind not in CLASSES:
        return symbol.signature
    lines = _fields(scope, located)[:_MAX_FIELDS]
    python = "{" not in symbol.signature and located.path.endswith((".py", ".pyi", ".pyw"))
    if python:
        return f"{symbol.signature}:\n" + ("\n".join(f"    {line}" for line in lines) or "    ...")
    return f"{symbol.signature} {{\n" + "".join(f"    {line};\n" for line in lines) + "}"


def _fields(scope: Scope, located: Located) -> list[str]:
    assert located.symbol is not None
    members = [member.symbol for member in scope.members(located) if member.symbol is not None]
    kinds = {"field", "attribute"} | ({"method"} if located.symbol.kind == "interface" else set())
    return [member.signature.removeprefix("self.") for member in members if member.kind in kinds]


def _mentioned(scope: Scope, located: Located) -> list[str]:
    symbol = located.symbol
    assert symbol is not None
    if symbol.kind not in CLASSES:
        alias = _ALIAS.search(symbol.signature)
        return _names(alias[1]) if alias else []
    found = list(base_names(located))
    for line in _fields(scope, located):
        _, colon, annotation = line.partition(":")
        if colon:
            found.extend(_names(annotation.partition("=")[0]))
    return found


def _names(text: str) -> list[str]:
    """Dotted names in a type, quoted ones too, in order and once each."""
    return list(dict.fromkeys(_NAME.findall(text)))


def _is_type(located: Located) -> bool:
    symbol = located.symbol
    if symbol is None:
        return False
    if symbol.kind == "constant":  # Python's aliases look like constants
        value = _ALIAS.search(symbol.signature)
        if ": TypeAlias" in symbol.signature or "TypeAlias" in symbol.signature.partition("=")[0]:
            return True
        return value is not None and _TYPE_ALIAS_VALUE.match(value[1]) is not None and parse_type(value[1]).name != "?"
    return symbol.kind in CLASSES or symbol.kind == "type"
