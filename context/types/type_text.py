"""Types as they are written or displayed (Python, TypeScript) → small trees, to compare and to take names from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

UNION, ARROW, TUPLE, OBJECT, UNKNOWN, LITERAL = "|", "->", "tuple", "{}", "?", "Literal"
_TOKEN = re.compile(r"\s*(=>|->|\.\.\.|\"[^\"]*\"|'[^']*'|[\w$]+(?:\.[\w$]+)*|[^\s\w])")
_LOWER = {"List": "list", "Dict": "dict", "Set": "set", "FrozenSet": "frozenset", "Tuple": TUPLE, "Type": "type"}
_ANY = frozenset({"Any", "any", "unknown", "Unknown", "object", "..."})
BASE = frozenset(
    {
        *("int", "str", "float", "bool", "bytes", "complex", "None", "object", "Any"),
        *("number", "string", "boolean", "null", "undefined", "void", "bigint", "symbol", "any", "unknown"),
    }
)
_CLOSING = {"[": "]", "<": ">", "(": ")", "{": "}"}
_MAX_CHARS = 2000


@dataclass(frozen=True, slots=True)
class TypeNode:
    """``name`` without its module; UNION, ARROW (parameters…, return), TUPLE and OBJECT are names of their own."""

    name: str
    args: tuple[TypeNode, ...] = ()

    def count(self) -> int:
        return 1 + sum(arg.count() for arg in self.args)

    def unknowns(self) -> int:
        return (self.name == UNKNOWN) + sum(arg.unknowns() for arg in self.args)

    def names(self) -> Iterator[str]:
        """Names in it, outermost first."""
        if self.name not in (UNION, ARROW, OBJECT, UNKNOWN, LITERAL):
            yield self.name
        for arg in self.args if self.name != LITERAL else ():
            yield from arg.names()

    def __str__(self) -> str:
        if self.name == UNION:
            return " | ".join(str(arg) for arg in self.args)
        if self.name == ARROW:
            return f"({', '.join(map(str, self.args[:-1]))}) -> {self.args[-1]}"
        return self.name + (f"[{', '.join(map(str, self.args))}]" if self.args else "")


@lru_cache(4096)
def parse_type(text: str) -> TypeNode:
    """Total: what is not understood is UNKNOWN."""
    if not text.strip() or len(text) > _MAX_CHARS:
        return TypeNode(UNKNOWN)
    reader = _Reader(_TOKEN.findall(text))
    try:
        node = reader.union()
    except RecursionError:
        return TypeNode(UNKNOWN)
    return node if reader.done else TypeNode(UNKNOWN)


def normalised(text: str) -> str:
    """Equal for types that mean the same, however they are spelled: order of unions, Optional, modules, quotes."""
    return str(_sorted(parse_type(text)))


def consistent(given: TypeNode, wanted: TypeNode, is_subtype: Callable[[str, str], bool]) -> bool:
    """Gradual consistency: an unknown part fits everything; of a union, one part that fits is enough."""
    if UNKNOWN in (given.name, wanted.name):
        return True
    if wanted.name == UNION:
        return any(consistent(given, part, is_subtype) for part in wanted.args)
    if given.name == UNION:
        return any(part.name != "None" and consistent(part, wanted, is_subtype) for part in given.args)
    if given.name != wanted.name:
        return is_subtype(given.name, wanted.name)
    if not given.args or not wanted.args:
        return True
    if len(given.args) != len(wanted.args):
        return False
    return all(consistent(mine, other, is_subtype) for mine, other in zip(given.args, wanted.args, strict=True))


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._tokens)

    def union(self) -> TypeNode:
        if self._peek() == "|":
            self._at += 1
        parts = [self._intersection()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._intersection())
        return _union(parts)

    def _intersection(self) -> TypeNode:
        first = self._postfix()
        while self._peek() == "&":
            self._at += 1
            if self._peek() == "~":
                self._at += 1
            self._postfix()
        return first

    def _postfix(self) -> TypeNode:
        node = self._primary()
        while self._peek() in ("[", "<"):
            opener = self._take()
            if opener == "[" and self._peek() == "]":
                self._at += 1
                node = TypeNode("Array", (node,))
                continue
            args = tuple(self._list(_CLOSING[opener]))
            node = _generic(node.name, args)
        return node

    def _primary(self) -> TypeNode:
        token = self._take()
        if token == "(":
            inside = list(self._list(")"))
            if self._peek() in ("=>", "->"):
                self._at += 1
                return TypeNode(ARROW, (*inside, self.union()))
            return inside[0] if len(inside) == 1 else TypeNode(TUPLE, tuple(inside))
        if token == "[":
            return TypeNode(TUPLE, tuple(self._list("]")))
        if token == "{":
            self._skip("}")
            return TypeNode(OBJECT)
        if token[:1] in "\"'":
            inner = token[1:-1]
            parsed = parse_type(inner) if re.fullmatch(r"[A-Za-z_][\w.\[\], |]*", inner) else TypeNode(UNKNOWN)
            return parsed if parsed.name != UNKNOWN else TypeNode(LITERAL, (TypeNode(token),))
        if token in ("typeof", "keyof", "readonly", "unique", "def", "class", "bound", "method"):
            return self._postfix()
        if not re.match(r"[\w$.]", token) or token[0].isdigit():
            return TypeNode(LITERAL, (TypeNode(token),)) if token[:1].isdigit() else TypeNode(UNKNOWN)
        name = token.rpartition(".")[2] or token
        return TypeNode(UNKNOWN) if name in _ANY or token in _ANY else TypeNode(_LOWER.get(name, name))

    def _list(self, closer: str) -> Iterator[TypeNode]:
        while not self.done and self._peek() != closer:
            if self._peek() in ("*", "/") and self._peek(1) in (",", closer):
                self._at += 1  # a mark between parameters
            else:
                yield self._item(closer)
            if self._peek() == ",":
                self._at += 1
        self._at += 1

    def _item(self, closer: str) -> TypeNode:
        """A type, or a parameter `name: type` of which the type counts."""
        start = self._at
        while self._peek() in ("*", "/", "..."):
            self._at += 1
        node = self.union() if self._peek() not in (",", closer, "") else TypeNode(UNKNOWN)
        if self._peek() == "?":
            self._at += 1
        if self._peek() == ":":
            self._at += 1
            node = self.union()
        if self._peek() == "=":
            while self._peek() not in (",", closer, ""):
                self._at += 1
        if self._at == start or self._peek() not in (",", closer):
            self._at = max(self._at, start + 1)
        return node

    def _skip(self, closer: str) -> None:
        depth = 1
        while depth and not self.done:
            token = self._take()
            depth += (token in _CLOSING) - (token in _CLOSING.values())

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._at += 1
        return token or ""


def _generic(name: str, args: tuple[TypeNode, ...]) -> TypeNode:
    if name == "Optional" and len(args) == 1:
        return _union([args[0], TypeNode("None")])
    if name == "Union":
        return _union(list(args))
    if name in ("Annotated", "Final", "ClassVar", "Readonly", "Required", "NotRequired") and args:
        return args[0]
    if name == "Callable" and len(args) == 2:
        first = args[0]
        parameters = first.args if first.name == TUPLE else (first,)
        return TypeNode(ARROW, (*parameters, args[1]))
    return TypeNode(name, args)


def _union(parts: list[TypeNode]) -> TypeNode:
    flat = [inner for part in parts for inner in (part.args if part.name == UNION else (part,))]
    unique = tuple(dict.fromkeys(flat))
    return unique[0] if len(unique) == 1 else TypeNode(UNION, unique)


def _sorted(node: TypeNode) -> TypeNode:
    args = tuple(_sorted(arg) for arg in node.args)
    return TypeNode(node.name, tuple(sorted(args, key=str)) if node.name == UNION else args)
