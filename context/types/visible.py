"""Names that a statement at the hole may use: those of its own functions and of the module, not of other functions."""

from __future__ import annotations

from collections.abc import Iterator

import tree_sitter

from holefill.context.types.holes import HoleAt

_FUNCTIONS = frozenset(
    {
        *("function_definition", "lambda", "list_comprehension", "set_comprehension", "dictionary_comprehension"),
        *("generator_expression", "function_declaration", "function_expression", "generator_function_declaration"),
        *("method_definition", "arrow_function", "method_declaration", "function_item", "constructor_declaration"),
    }
)
_CLASSES = frozenset({"class_definition", "class_declaration", "class", "abstract_class_declaration"})
_NAMES = frozenset({"identifier", "type_identifier", "shorthand_property_identifier_pattern"})
_OWNERS = {"attribute": "attribute", "member_expression": "property", "keyword_argument": "name"}


def visible_names(at: HoleAt) -> frozenset[str]:
    """Total; what is bound only later in the same function counts too."""
    return frozenset(_walk(at, at.repair.parsed.root))


def _walk(at: HoleAt, node: tree_sitter.Node) -> Iterator[str]:
    for child in node.children:
        inside = child.start_byte <= at.node.start_byte and at.node.end_byte <= child.end_byte
        if child.type in _NAMES:
            if child != at.node and not _is_owned(child, node):
                yield at.repair.parsed.text(child)
        elif child.type in _FUNCTIONS and not inside:
            yield from _name(at, child)
        elif child.type in _CLASSES:
            yield from _name(at, child)
            yield from _method(at, child) if inside else ()
        else:
            yield from _walk(at, child)


def _name(at: HoleAt, node: tree_sitter.Node) -> Iterator[str]:
    name = node.child_by_field_name("name")
    if name is not None:
        yield at.repair.parsed.text(name)


def _method(at: HoleAt, node: tree_sitter.Node) -> Iterator[str]:
    """Of a class around the hole: its method's names, which cannot name the class's own; or those, outside a method."""
    method: tree_sitter.Node | None = at.node
    while method is not None and method != node and method.type not in _FUNCTIONS:
        method = method.parent
    yield from _walk(at, node if method is None else method)


def _is_owned(node: tree_sitter.Node, parent: tree_sitter.Node) -> bool:
    field = _OWNERS.get(parent.type)
    return field is not None and parent.child_by_field_name(field) == node
