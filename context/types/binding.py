"""What a receiver is, from the code alone (LANCE): parameters, annotations, assignments, `with … as`, imports, self."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter

from holefill.context.index.records import Located
from holefill.context.syntax.parsing import Parsed
from holefill.context.types.scope import CLASSES, Scope
from holefill.context.types.signature_text import return_type
from holefill.context.types.type_text import UNION, parse_type

_FUNCTIONS = frozenset(
    {
        *("function_definition", "function_declaration", "method_definition", "arrow_function"),
        *("function_expression", "generator_function_declaration"),
    }
)
_CLASS_NODES = frozenset({"class_definition", "class_declaration", "abstract_class_declaration"})
_SELF = frozenset({"self", "cls", "this"})
_PARAMETERS = frozenset({"typed_parameter", "typed_default_parameter", "required_parameter", "optional_parameter"})
_NOTHING = frozenset({"None", "null", "undefined"})
_MAX_DEPTH = 6
_CALLED = re.compile(r"\s*(?:await\s+|new\s+)?([\w.]+)\((?:[^()]|\([^()]*\))*\)\s*;?\s*$")
"""A value that is one call, without anything after it."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A class (its instance), a class itself, or a module."""

    located: Located
    certain: bool
    """The code says it: an annotation, a constructor, an import; not a name that is merely unique."""


class Binder:
    def __init__(self, scope: Scope, parsed: Parsed, node: tree_sitter.Node) -> None:
        """``node`` is the hole's."""
        self._scope = scope
        self._parsed = parsed
        self._node = node

    def bind(self, receiver: tree_sitter.Node, depth: int = 0) -> Bound | None:
        if depth > _MAX_DEPTH:
            return None
        if receiver.type in ("await", "await_expression", "parenthesized_expression") and receiver.named_children:
            return self.bind(receiver.named_children[0], depth + 1)
        if receiver.type in ("call", "call_expression", "new_expression"):
            return self._called(receiver, depth)
        if receiver.type in ("attribute", "member_expression"):
            return self._attribute(receiver, depth)
        name = self._parsed.text(receiver)
        if name in _SELF:
            return self._own_class()
        if receiver.type != "identifier":
            return None
        return self._named(name, depth)

    def _own_class(self) -> Bound | None:
        outer = self._node.parent
        while outer is not None:
            if outer.type in _CLASS_NODES:
                name = outer.child_by_field_name("name")
                found = None if name is None else self._scope.resolve(self._parsed.text(name), anywhere=False)
                return None if found is None else Bound(found, True)
            outer = outer.parent
        return None

    def _called(self, call: tree_sitter.Node, depth: int) -> Bound | None:
        function = call.child_by_field_name("function") or call.child_by_field_name("constructor")
        if function is None:
            return None
        text = self._parsed.text(function)
        found = self._scope.resolve(text, anywhere=False)
        if found is None and function.type in ("attribute", "member_expression"):
            found = self.member(function, depth)
        if found is None or found.symbol is None:
            return None
        if found.symbol.kind in CLASSES:
            return Bound(found, True)
        return self._of_type(self._scope.at(found.path), return_type(found.symbol.signature))

    def _attribute(self, node: tree_sitter.Node, depth: int) -> Bound | None:
        module = self._scope.resolve(self._parsed.text(node), anywhere=False)
        if module is not None and (module.symbol is None or module.symbol.kind in CLASSES):
            return Bound(module, True)
        field = self.member(node, depth)
        if field is None or field.symbol is None:
            return None
        signature, scope = field.symbol.signature, self._scope.at(field.path)
        if field.symbol.kind == "method":  # a property, or a bound method: only the first has members worth telling
            return self._of_type(scope, return_type(signature))
        _, colon, annotation = signature.partition(":")
        if colon and "(" not in signature.partition(":")[0]:
            return self._of_type(scope, annotation.partition("=")[0])
        value = signature.partition("=")[2].strip().removeprefix("new ")
        called = scope.resolve(value.partition("(")[0].strip(), anywhere=False) if "(" in value else None
        is_class = called is not None and called.symbol is not None and called.symbol.kind in CLASSES
        return Bound(called, True) if called is not None and is_class else None

    def member(self, node: tree_sitter.Node, depth: int = 0) -> Located | None:
        """What `a.b` names, in the class of `a` or its bases."""
        owner = node.child_by_field_name("object")
        name = node.child_by_field_name("attribute") or node.child_by_field_name("property")
        bound = None if owner is None else self.bind(owner, depth + 1)
        if bound is None or name is None:
            return None
        wanted = self._parsed.text(name)
        for owner_class in self._scope.lineage(bound.located)[0]:
            for member in self._scope.at(owner_class.path).members(owner_class):
                if member.symbol is not None and member.symbol.name == wanted:
                    return member
        return None

    def _global(self, name: str) -> Bound | None:
        found = self._scope.resolve(name, anywhere=False)
        if found is None:
            return None
        if found.symbol is not None and found.symbol.kind not in CLASSES:
            scope = self._scope.at(found.path)
            target, _, value = found.symbol.signature.partition("=")
            _, colon, annotation = target.partition(":")
            return self._of_type(scope, annotation) if colon else self._made(scope, name, value)
        return Bound(found, True)

    def _made(self, scope: Scope, name: str, value: str) -> Bound | None:
        """What a module's variable is, by the constructor or function that its value calls."""
        match = _CALLED.match(value)
        called = None if match is None else scope.resolve(match[1], anywhere=False)
        if called is None or called.symbol is None:
            return None
        once = sum(1 for symbol in scope.own if symbol.name == name and not symbol.parent) == 1
        if called.symbol.kind in CLASSES:
            return Bound(called, once)
        found = self._of_type(self._scope.at(called.path), return_type(called.symbol.signature))
        return None if found is None else Bound(found.located, found.certain and once)

    def _named(self, name: str, depth: int) -> Bound | None:
        """By the nearest binding above the hole, innermost function first; a local hides what the module calls so."""
        outer = self._node.parent
        while outer is not None:
            if outer.type in _FUNCTIONS:
                bindings = list(self._bindings(outer, name))
                if bindings:
                    return self._from_binding(bindings[-1], depth)
            outer = outer.parent
        return self._global(name)

    def _bindings(self, function: tree_sitter.Node, name: str) -> Iterator[tree_sitter.Node]:
        stack = [function]
        while stack:
            node = stack.pop()
            if node.start_byte >= self._node.start_byte:
                continue
            if node != function and node.type in _FUNCTIONS | _CLASS_NODES and node.end_byte < self._node.start_byte:
                continue
            if self._bound_name(node) == name:
                yield node
            stack.extend(reversed(node.named_children))

    def _bound_name(self, node: tree_sitter.Node) -> str:
        target: tree_sitter.Node | None = None
        if node.type in _PARAMETERS:
            target = node.child_by_field_name("name") or node.child_by_field_name("pattern")
            target = target or next((child for child in node.named_children if child.type == "identifier"), None)
        elif node.type in ("assignment", "assignment_expression"):
            target = node.child_by_field_name("left")
        elif node.type == "variable_declarator":
            target = node.child_by_field_name("name")
        elif node.type == "as_pattern":
            target = node.child_by_field_name("alias")
        elif node.type in ("for_statement", "for_in_clause"):
            target = node.child_by_field_name("left")
        return "" if target is None else self._parsed.text(target)

    def _from_binding(self, node: tree_sitter.Node, depth: int) -> Bound | None:
        annotation = node.child_by_field_name("type")
        if annotation is not None:
            return self._of_type(self._scope, self._parsed.text(annotation).lstrip(":"))
        value = node.child_by_field_name("right") or node.child_by_field_name("value")
        if node.type == "as_pattern" and node.named_children:
            value = node.named_children[0]
            bound = self.bind(value, depth + 1)
            return None if bound is None else self._entered(bound)
        if value is None or node.type in ("for_statement", "for_in_clause"):
            return None
        return self.bind(value, depth + 1)

    def _entered(self, manager: Bound) -> Bound:
        """What `with` gives: `__enter__`'s return type, by custom the manager itself."""
        for owner in self._scope.lineage(manager.located)[0]:
            for member in self._scope.at(owner.path).members(owner):
                if member.symbol is not None and member.symbol.name in ("__enter__", "__aenter__"):
                    found = self._of_type(self._scope.at(owner.path), return_type(member.symbol.signature))
                    return found or Bound(manager.located, False)
        return Bound(manager.located, False)

    def _of_type(self, scope: Scope, text: str) -> Bound | None:
        """The one class that a type names, None apart; of an enum's members its values have none."""
        node = parse_type(text)
        parts = node.args if node.name == UNION else (node,)
        named = [part for part in parts if part.name not in _NOTHING]
        if len(named) != 1:
            return None
        spelled = next((word for word in text.replace('"', " ").replace("'", " ").split() if named[0].name in word), "")
        dotted = spelled.partition("[")[0].partition("<")[0].strip("|,()") or named[0].name
        found = scope.resolve(dotted, anywhere=False) or scope.resolve(named[0].name)
        if found is None or found.symbol is None or found.symbol.kind not in CLASSES - {"enum"}:
            return None
        return Bound(found, scope.resolve(dotted, anywhere=False) is not None)
