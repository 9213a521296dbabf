"""What is wrong with a fill, as far as the code and the index tell: names, members and calls. Certain cases only.

Every rule asks for proof and keeps silent without it: a class with a base outside of the workspace, a decorated
function, a name that stands anywhere else in the file, are no ground for a complaint.
"""

from __future__ import annotations

import builtins
import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property

import tree_sitter

from holefill.context.index.records import Located
from holefill.context.syntax.changes import Piece
from holefill.context.syntax.definitions import Definition, import_nodes
from holefill.context.syntax.languages import grammar
from holefill.context.syntax.parsing import Parsed, parse
from holefill.context.types.binding import Binder, Bound
from holefill.context.types.scope import Scope
from holefill.context.types.signature_text import parameters_in


class Kind(StrEnum):
    NAME = "name"
    IMPORT = "import"
    """A name that exists, but is not imported here."""
    MEMBER = "member"
    ARITY = "arity"
    KEYWORD = "keyword"
    TYPE = "type"
    SYNTAX = "syntax"


@dataclass(frozen=True, slots=True)
class Found:
    """``start`` and ``end`` are bytes of the filled source."""

    kind: Kind
    message: str
    name: str
    start: int
    end: int
    nearest: str = ""


_PYTHON_NAMES = frozenset(dir(builtins)) | {"__file__", "__name__", "__doc__", "__path__", "__class__", "reveal_type"}
_ATTRIBUTES = {"attribute": "attribute", "member_expression": "property"}
_WITH_ENUMS = frozenset({"typescript", "tsx"})
_DYNAMIC = frozenset({"__getattr__", "__getattribute__", "__slots__"})
_STARRED = frozenset({"list_splat", "dictionary_splat", "spread_element"})
_CUTOFF = 0.6


class FillFloor:
    """Of one filled buffer. Python has all rules, TypeScript that of enums; the rest is too rich to prove."""

    def __init__(
        self, scope: Scope, parsed: Parsed, start: int, end: int, outside: Callable[[], frozenset[str]] | None = None
    ) -> None:
        """``start``, ``end``: the fill, in bytes of ``parsed``; ``outside``: ``names_outside`` of it, if known."""
        self._names_outside = outside or (lambda: names_outside(parsed, start, end))
        self._scope = scope
        self._parsed = parsed
        self._start = start
        self._end = end

    def problems(self) -> list[Found]:
        if self._parsed.language in _WITH_ENUMS:
            dotted = (node for node in self._nodes() if node.type in _ATTRIBUTES and self._is_of_enum(node))
            return [one for node in dotted for one in self._member(node)]
        if self._parsed.language != "python":
            return []
        found: list[Found] = []
        for node in self._nodes():
            if node.type == "identifier" and self._is_read(node):
                found.extend(self._name(node))
            elif node.type in _ATTRIBUTES:
                found.extend(self._member(node))
            elif node.type == "call":
                found.extend(self._call(node))
        return found

    def nearest_name(self, name: str) -> str:
        known = self._bound | self._scope.imported.keys() | {symbol.name for symbol in self._scope.own}
        return nearest(name, known - {name})

    def nearest_member(self, node: tree_sitter.Node) -> str:
        """Of the receiver of an attribute."""
        name = node.child_by_field_name(_ATTRIBUTES.get(node.type, ""))
        members, _ = self._members(node)
        return "" if name is None or members is None else nearest(self._text(name), members)

    def stands_elsewhere(self, member: str) -> bool:
        """After a dot in the same file, the fill apart."""
        return re.search(rb"\.%s\b" % re.escape(member.encode()), self._outside) is not None

    def nearest_keyword(self, node: tree_sitter.Node, name: str) -> str:
        """Of the parameters of the call that ``node`` is in."""
        call: tree_sitter.Node | None = node
        while call is not None and call.type != "call":
            call = call.parent
        function = None if call is None else call.child_by_field_name("function")
        target = None if function is None else self._target(function)
        if target is None:
            return ""
        return nearest(name, [one.name for one in parameters_in(target[0].signature)[1]])

    def node_at(self, start: int, end: int) -> tree_sitter.Node | None:
        return self._parsed.root.descendant_for_byte_range(start, end)

    def _name(self, node: tree_sitter.Node) -> Iterator[Found]:
        name = self._text(node)
        if name in _PYTHON_NAMES or name in self._bound or self._has_star_import:
            return
        near = self.nearest_name(name)
        yield Found(Kind.NAME, f"`{name}` is not defined here", name, node.start_byte, node.end_byte, near)

    def _member(self, node: tree_sitter.Node) -> Iterator[Found]:
        attribute = node.child_by_field_name(_ATTRIBUTES[node.type])
        if attribute is None or attribute.start_byte < self._start or self._is_target(node):
            return
        members, owner = self._members(node)
        name = self._text(attribute)
        if members is None or name in members or name.startswith("__"):
            return
        if self.stands_elsewhere(name):
            return  # set from outside of the class, or something else we do not see
        message = f"`{owner}` has no member `{name}`"
        yield Found(Kind.MEMBER, message, name, attribute.start_byte, attribute.end_byte, nearest(name, members))

    def _members(self, node: tree_sitter.Node) -> tuple[frozenset[str] | None, str]:
        """All members of the receiver and its name; None where one cannot be sure of having all."""
        bound = self._receiver(node)
        if bound is None or not bound.certain or bound.located.symbol is None:
            return None, ""
        lineage, complete = self._scope.lineage(bound.located)
        names = {
            member.symbol.name
            for owner in lineage
            for member in self._scope.at(owner.path).members(owner)
            if member.symbol is not None
        }
        symbol = bound.located.symbol
        enum_like = symbol.kind == "class" and any(base in symbol.signature for base in ("Enum", "Flag"))
        if not complete or enum_like or names & _DYNAMIC or not names:
            return None, ""
        return frozenset(names), symbol.name

    def _receiver(self, node: tree_sitter.Node) -> Bound | None:
        receiver = node.child_by_field_name("object")
        return None if receiver is None else Binder(self._scope, self._parsed, node).bind(receiver)

    def _is_of_enum(self, node: tree_sitter.Node) -> bool:
        """Whether the receiver is an enum, and nothing else adds to what it declares."""
        bound = self._receiver(node)
        symbol = None if bound is None else bound.located.symbol
        if bound is None or symbol is None or symbol.kind != "enum":
            return False
        return sum(1 for other in self._scope.at(bound.located.path).own if other.qualified == symbol.qualified) == 1

    def _call(self, node: tree_sitter.Node) -> Iterator[Found]:
        function, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        if function is None or arguments is None or arguments.type != "argument_list":
            return
        if arguments.end_byte > self._end or arguments.has_error:
            return  # the user's text after the cursor has a part in it
        target = self._target(function)
        if target is None:
            return
        symbol, bound_first = target
        _, parameters = parameters_in(symbol.signature)
        parameters = parameters[1:] if bound_first else parameters
        yield from _arguments(self._parsed, node, arguments, symbol.name, tuple(one.label for one in parameters))

    def _target(self, function: tree_sitter.Node) -> tuple[Definition, bool] | None:
        """A plain function, method or constructor of the workspace; True: its first parameter is given already."""
        found = self._scope.resolve(self._text(function), anywhere=False)
        method = False
        if found is None and function.type == "attribute":
            receiver = function.child_by_field_name("object")
            binder = Binder(self._scope, self._parsed, function)
            bound = None if receiver is None else binder.bind(receiver)
            if bound is None or not bound.certain or bound.located.symbol is None:
                return None
            if receiver is not None and self._text(receiver) == bound.located.symbol.name:
                return None  # called on the class: whether `self` is given depends
            found, method = binder.member(function), True
        if found is None or found.symbol is None or not self._is_plain(found):
            return None
        if found.symbol.kind == "class":
            return self._constructor(found)
        if found.symbol.kind not in ("function", "method"):
            return None
        return found.symbol, method

    def _constructor(self, found: Located) -> tuple[Definition, bool] | None:
        own = [one.symbol for one in self._scope.at(found.path).members(found) if one.symbol is not None]
        init = [symbol for symbol in own if symbol.name == "__init__"]
        made_elsewhere = any(symbol.name == "__new__" for symbol in own)
        if len(init) != 1 or made_elsewhere or not self._is_plain(Located(found.path, init[0])):
            return None
        return init[0], True

    def _is_plain(self, located: Located) -> bool:
        """Defined once, not decorated, its signature known in full."""
        symbol = located.symbol
        if symbol is None or symbol.signature.endswith("…"):
            return False
        scope = self._scope.at(located.path)
        if sum(1 for other in scope.own if other.qualified == symbol.qualified) != 1:
            return False
        parsed = self._parsed
        if located.path != self._scope.path:
            parsed = parse(parsed.language, self._scope.index.text(located.path) or "")
        node = parsed.root.descendant_for_byte_range(symbol.start, symbol.body)
        while node is not None and node.type not in ("function_definition", "class_definition"):
            node = node.parent
        return node is not None and node.parent is not None and node.parent.type != "decorated_definition"

    @cached_property
    def _bound(self) -> frozenset[str]:
        """Identifiers that stand outside of the fill, or that the fill itself binds."""
        inside = (node for node in self._inside() if node.type == "identifier" and not self._is_read(node))
        return self._names_outside() | {self._text(node) for node in inside}

    def _inside(self) -> Iterator[tree_sitter.Node]:
        """Every node that touches the fill."""
        stack = [self._parsed.root]
        while stack:
            node = stack.pop()
            if node.end_byte > self._start and node.start_byte < self._end:
                yield node
                stack.extend(node.children)

    @cached_property
    def _outside(self) -> bytes:
        return self._parsed.source[: self._start] + b"\n" + self._parsed.source[self._end :]

    @cached_property
    def _has_star_import(self) -> bool:
        return any(b"*" in self._parsed.source[node.start_byte : node.end_byte] for node in import_nodes(self._parsed))

    def _nodes(self) -> Iterator[tree_sitter.Node]:
        stack = [self._parsed.root]
        while stack:
            node = stack.pop()
            if node.end_byte <= self._start or node.start_byte >= self._end:
                continue
            if node.start_byte >= self._start or node.type in _ATTRIBUTES or node.type == "call":
                yield node
            stack.extend(reversed(node.children))

    def _is_read(self, node: tree_sitter.Node) -> bool:
        """Not an attribute's name, a keyword's, or a name that is bound there."""
        if _is_attribute_name(node) or node.start_byte < self._start or node.end_byte > self._end:
            return False
        inner, parent = node, node.parent
        while parent is not None and parent.type in (
            "pattern_list",
            "tuple_pattern",
            "list_pattern",
            "list_splat_pattern",
        ):
            inner, parent = parent, parent.parent
        return parent is not None and not _binds(parent, inner)

    def _is_target(self, node: tree_sitter.Node) -> bool:
        parent = node.parent
        return parent is not None and parent.type == "assignment" and parent.child_by_field_name("left") == node

    def _text(self, node: tree_sitter.Node) -> str:
        return self._parsed.text(node)


def names_outside(parsed: Parsed, start: int, end: int) -> frozenset[str]:
    """Identifiers outside of a range of bytes that are no attributes' names."""
    counts = parsed.counts("identifiers", _identifiers_in)
    inside = Counter(
        piece.value for piece in _identifiers_in(parsed, (start, end)) if piece.end > start and piece.start < end
    )
    names = counts if not inside else (name for name, count in counts.items() if count > inside[name])
    return frozenset(name.decode("utf-8", "replace") for name in names)


def _identifiers_in(parsed: Parsed, within: tuple[int, int] | None) -> list[Piece[bytes]]:
    cursor = tree_sitter.QueryCursor(_identifiers(parsed.language))
    if within is not None:
        cursor.set_byte_range(*within)
    found = cursor.captures(parsed.root)
    attributes = {node.id for node in found.get("attribute", ())}
    source = parsed.source
    return [
        Piece(first := node.start_byte, last := node.end_byte, source[first:last])
        for node in found.get("name", ())
        if node.id not in attributes
    ]


@cache
def _identifiers(language: str) -> tree_sitter.Query:
    """``@attribute``: what ``_is_attribute_name`` says of a node, for all of a file at once."""
    owned = (
        "(attribute attribute: (identifier) @attribute) (keyword_argument name: (identifier) @attribute)"
        if language == "python"
        else ""
    )
    return tree_sitter.Query(grammar(language), f"(identifier) @name {owned}")


def _is_attribute_name(node: tree_sitter.Node) -> bool:
    parent = node.parent
    if parent is None:
        return False
    if parent.type in _ATTRIBUTES:
        return parent.child_by_field_name(_ATTRIBUTES[parent.type]) == node
    return parent.type == "keyword_argument" and parent.child_by_field_name("name") == node


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is spelled most alike; empty when none is."""
    # Of two strings' lengths alone follows how alike they can be at most; most names end there.
    size = len(name)
    near = [one for one in known if 2 * min(size, len(one)) >= _CUTOFF * (size + len(one))]
    return next(iter(difflib.get_close_matches(name, sorted(near), 1, _CUTOFF)), "")


_BINDING_FIELDS = {
    "assignment": "left",
    "named_expression": "name",
    "for_statement": "left",
    "for_in_clause": "left",
    "function_definition": "name",
    "class_definition": "name",
    "default_parameter": "name",
    "typed_default_parameter": "name",
    "type_alias_statement": "left",
}
_BINDING_PARENTS = frozenset(
    {
        *("parameters", "lambda_parameters", "typed_parameter", "as_pattern_target", "aliased_import", "dotted_name"),
        *("global_statement", "nonlocal_statement", "dictionary_splat_pattern", "list_splat_pattern", "case_pattern"),
        *("type_parameter", "ERROR"),
    }
)


def _binds(parent: tree_sitter.Node, node: tree_sitter.Node) -> bool:
    field = _BINDING_FIELDS.get(parent.type)
    if field is not None:
        return parent.child_by_field_name(field) == node
    return parent.type in _BINDING_PARENTS


def _arguments(
    parsed: Parsed, call: tree_sitter.Node, arguments: tree_sitter.Node, name: str, parameters: tuple[str, ...]
) -> Iterator[Found]:
    """Too many, unknown by name, or missing."""
    given = [child for child in arguments.named_children if child.type != "comment"]
    keywords = {}
    for one in given:
        key = one.child_by_field_name("name") if one.type == "keyword_argument" else None
        if key is not None:
            keywords[parsed.text(key)] = key
    positional = [one for one in given if one.type not in ("keyword_argument", *_STARRED)]
    spread = any(one.type in _STARRED for one in given) or any(one.type == "generator_expression" for one in given)
    plain = [one for one in parameters if not one.startswith("*")]
    names = [re.split(r"[:=]", one)[0].strip() for one in plain]
    takes_any = any(one.startswith("*") and not one.startswith("**") for one in parameters)
    takes_keywords = any(one.startswith("**") for one in parameters)
    if len(positional) > len(plain) and not takes_any and not spread:
        yield Found(
            Kind.ARITY,
            f"`{name}` takes at most {len(plain)} arguments, not {len(positional)}",
            name,
            positional[len(plain)].start_byte,
            positional[-1].end_byte,
        )
    for spelled, key in keywords.items():
        if spelled not in names and not takes_keywords:
            near = nearest(spelled, names)
            yield Found(
                Kind.KEYWORD, f"`{name}` has no parameter `{spelled}`", spelled, key.start_byte, key.end_byte, near
            )
    missing = [
        label
        for label, one in zip(names[len(positional) :], plain[len(positional) :], strict=True)
        if "=" not in one and label not in keywords
    ]
    if missing and not spread:
        message = f"`{name}` needs {', '.join(f'`{one}`' for one in missing)}"
        yield Found(Kind.ARITY, message, name, call.start_byte, call.end_byte)
