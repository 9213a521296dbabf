"""What is wrong with a fill, as far as the code and the index tell: names, members and calls. Certain cases only.

Every rule asks for proof and keeps silent without it: a class with a base outside of the workspace, a decorated
function, a name that stands anywhere else in the file, are no ground for a complaint.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Iterator
from functools import cached_property

import tree_sitter

from holefill.context.index.records import Located
from holefill.context.syntax.definitions import Definition, import_nodes
from holefill.context.syntax.parsing import Parsed, parse
from holefill.context.types.arguments import wrong_arguments
from holefill.context.types.binding import Binder, Bound
from holefill.context.types.found import Found, Kind, nearest
from holefill.context.types.identifiers import ATTRIBUTES, is_read, names_outside
from holefill.context.types.scope import Scope
from holefill.context.types.signature_text import parameters_in

_PYTHON_NAMES = frozenset(dir(builtins)) | {"__file__", "__name__", "__doc__", "__path__", "__class__", "reveal_type"}
_WITH_ENUMS = frozenset({"typescript", "tsx"})
_DYNAMIC = frozenset({"__getattr__", "__getattribute__", "__slots__"})


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
            dotted = (node for node in self._nodes() if node.type in ATTRIBUTES and self._is_of_enum(node))
            return [one for node in dotted for one in self._member(node)]
        if self._parsed.language != "python":
            return []
        found: list[Found] = []
        for node in self._nodes():
            if node.type == "identifier" and self._is_read(node):
                found.extend(self._name(node))
            elif node.type in ATTRIBUTES:
                found.extend(self._member(node))
            elif node.type == "call":
                found.extend(self._call(node))
        return found

    def nearest_name(self, name: str) -> str:
        known = self._bound | self._scope.imported.keys() | {symbol.name for symbol in self._scope.own}
        return nearest(name, known - {name})

    def nearest_member(self, node: tree_sitter.Node) -> str:
        """Of the receiver of an attribute."""
        name = node.child_by_field_name(ATTRIBUTES.get(node.type, ""))
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
        attribute = node.child_by_field_name(ATTRIBUTES[node.type])
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
        yield from wrong_arguments(self._parsed, node, arguments, symbol.name, tuple(one.label for one in parameters))

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
            if node.start_byte >= self._start or node.type in ATTRIBUTES or node.type == "call":
                yield node
            stack.extend(reversed(node.children))

    def _is_read(self, node: tree_sitter.Node) -> bool:
        """Whether the fill reads the name there."""
        return self._start <= node.start_byte and node.end_byte <= self._end and is_read(node)

    def _is_target(self, node: tree_sitter.Node) -> bool:
        parent = node.parent
        return parent is not None and parent.type == "assignment" and parent.child_by_field_name("left") == node

    def _text(self, node: tree_sitter.Node) -> str:
        return self._parsed.text(node)
