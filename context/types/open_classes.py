"""Members that a class may have although its definition does not list them.

Three cases in which code proves that there are more: a method's own object may be of any subclass; a class sets
attributes under names it computes, or on objects it makes itself. What is found is a possibility, never a certainty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import tree_sitter

from holefill.context.index.records import Located
from holefill.context.types.scope import CLASSES, Scope

_COMPUTES = re.compile(r"\bsetattr\(|\b__getattr__\b|\b__getattribute__\b|\b__dict__\b|\bdef __new__\b")
_ASSIGNED = re.compile(r"\b[A-Za-z_]\w*\.([A-Za-z_]\w*)\s*(?::[^=\n]+)?=(?!=)")
_METHODS = frozenset({"function_definition", "method_definition"})
_MAX_SUBCLASSES = 12


def possible_members(
    scope: Scope, located: Located, own: bool, below: Callable[[str], Iterable[str]], seen: Callable[[], list[str]]
) -> list[str]:
    """``own``: the receiver is the method's own object; ``below``: subclasses' names; ``seen``: of ``FloorOracle``."""
    lineage, _ = scope.lineage(located)
    subclasses = tuple(_subclasses(scope, located, below)) if own else ()
    found: dict[str, None] = {}
    for one in subclasses:
        for owner in scope.at(one.path).lineage(one)[0]:
            for member in scope.at(owner.path).members(owner):
                if member.symbol is not None:
                    found[member.symbol.name] = None
    bodies = [body for owner in (*lineage, *subclasses) if _COMPUTES.search(body := _body(scope, owner))]
    for body in bodies:
        found.update(dict.fromkeys(_ASSIGNED.findall(body)))
    if bodies:
        found.update(dict.fromkeys(seen()))
    return list(found)


def is_own(node: tree_sitter.Node, text: bytes) -> bool:
    """Whether a name is the first parameter of the method around it, however it is called."""
    outer = node.parent
    while outer is not None and outer.type not in _METHODS:
        outer = outer.parent
    parameters = None if outer is None else outer.child_by_field_name("parameters")
    if outer is None or parameters is None or not parameters.named_children or _class_around(outer) is None:
        return False
    first = parameters.named_children[0]
    return text[first.start_byte : first.end_byte] == text[node.start_byte : node.end_byte]


def class_around(node: tree_sitter.Node) -> tree_sitter.Node | None:
    """The class whose method holds the node."""
    outer: tree_sitter.Node | None = node
    while outer is not None and outer.type not in _METHODS:
        outer = outer.parent
    return None if outer is None else _class_around(outer)


def _class_around(method: tree_sitter.Node) -> tree_sitter.Node | None:
    outer = method.parent
    if outer is not None and outer.type == "decorated_definition":
        outer = outer.parent
    outer = None if outer is None else outer.parent
    return outer if outer is not None and outer.type == "class_definition" else None


def _subclasses(scope: Scope, located: Located, below: Callable[[str], Iterable[str]]) -> Iterator[Located]:
    assert located.symbol is not None
    left = _MAX_SUBCLASSES
    for name in sorted(below(located.symbol.name)):
        for one in scope.index.find(name):
            if left and one.symbol is not None and one.symbol.kind in CLASSES:
                left -= 1
                yield one


def _body(scope: Scope, located: Located) -> str:
    symbol = located.symbol
    source = scope.at(located.path).source
    return "" if symbol is None else source[symbol.start : symbol.end].decode("utf-8", "replace")
