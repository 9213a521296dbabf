"""Identifiers of a buffer: names that are read, names that are bound there, and names of attributes."""

from __future__ import annotations

from collections import Counter
from functools import cache

import tree_sitter

from holefill.context.syntax.changes import Piece
from holefill.context.syntax.languages import grammar
from holefill.context.syntax.parsing import Parsed

ATTRIBUTES = {"attribute": "attribute", "member_expression": "property"}
"""Nodes with a member's name → the field that has it."""
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
_PATTERNS = frozenset({"pattern_list", "tuple_pattern", "list_pattern", "list_splat_pattern"})


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
    if parent.type in ATTRIBUTES:
        return parent.child_by_field_name(ATTRIBUTES[parent.type]) == node
    return parent.type == "keyword_argument" and parent.child_by_field_name("name") == node


def is_read(node: tree_sitter.Node) -> bool:
    """Not an attribute's name, a keyword's, or a name that is bound there."""
    if _is_attribute_name(node):
        return False
    inner, parent = node, node.parent
    while parent is not None and parent.type in _PATTERNS:
        inner, parent = parent, parent.parent
    return parent is not None and not _binds(parent, inner)


def _binds(parent: tree_sitter.Node, node: tree_sitter.Node) -> bool:
    field = _BINDING_FIELDS.get(parent.type)
    if field is not None:
        return parent.child_by_field_name(field) == node
    return parent.type in _BINDING_PARENTS
