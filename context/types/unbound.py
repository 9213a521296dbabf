"""Names of a fill that stand nowhere else in the file, TypeScript and JavaScript: candidates for an import, no more.

Without a checker nobody knows the names that the platform brings along; only those that are often somebody's own too
are listed, since a name that nothing in the workspace exports or imports leads nowhere.
"""

from __future__ import annotations

import re

import tree_sitter

from holefill.context.syntax.parsing import encode, parse

_READ = frozenset({"identifier", "type_identifier", "shorthand_property_identifier"})
_BINDING_FIELDS = {
    "variable_declarator": "name",
    "function_declaration": "name",
    "generator_function_declaration": "name",
    "function_expression": "name",
    "class_declaration": "name",
    "interface_declaration": "name",
    "type_alias_declaration": "name",
    "enum_declaration": "name",
    "arrow_function": "parameter",
    "assignment_pattern": "left",
    "object_assignment_pattern": "left",
    "pair_pattern": "value",
    "catch_clause": "parameter",
    "for_in_statement": "left",
    "required_parameter": "pattern",
    "optional_parameter": "pattern",
    "type_parameter": "name",
}
_BINDING_PARENTS = frozenset(
    {"formal_parameters", "array_pattern", "object_pattern", "rest_pattern", "import_specifier", "import_clause"}
    | {"namespace_import", "export_specifier", "ERROR"}
)
_PLATFORM = frozenset(
    """
    AbortController Array Attr Blob Boolean Buffer Cache Comment Crypto CustomEvent Date Document Element Error Event
    EventTarget File FormData Function Headers History Image Iterator JSON Location Lock Map Math MessageChannel Node
    Notification Number Object Option Parameters Partial Performance Pick Promise Proxy Range ReadableStream Record
    Ref Reflect RegExp Request Required Response ReturnType Selection Set Storage String Symbol Text URL
    URLSearchParams WeakMap WeakSet Window Worker any arguments boolean clearTimeout close console document event fetch
    find focus globalThis history length location module name never number object open origin parent performance
    print process queueMicrotask require screen scroll self setTimeout status stop string structuredClone symbol top
    undefined unknown void window
    """.split()  # noqa: SIM905  (ninety quoted names are no easier to read)
)


def unbound_names(language: str, prefix: str, fill: str, suffix: str) -> tuple[str, ...]:
    """In the order in which they stand; none that anything else in the file, were it a comment, mentions alone."""
    parsed = parse(language, prefix + fill + suffix)
    start = len(encode(prefix))
    end = start + len(encode(fill))
    read: dict[str, None] = {}
    bound: set[str] = set()
    stack = [parsed.root]
    while stack:
        node = stack.pop()
        if node.end_byte <= start or node.start_byte >= end:
            continue
        stack.extend(reversed(node.children))
        if node.type == "shorthand_property_identifier_pattern" or (node.type in _READ and _binds(node)):
            bound.add(parsed.text(node))
        elif node.type in _READ:
            read[parsed.text(node)] = None
    return tuple(
        name for name in read if name not in bound and name not in _PLATFORM and not _stands(name, prefix, suffix)
    )


def _binds(node: tree_sitter.Node) -> bool:
    parent = node.parent
    if parent is None or parent.type in _BINDING_PARENTS:
        return True
    field = _BINDING_FIELDS.get(parent.type)
    return field is not None and parent.child_by_field_name(field) == node


def _stands(name: str, prefix: str, suffix: str) -> bool:
    """Alone, not as a member of something."""
    alone = re.compile(rf"(?<![\w$.]){re.escape(name)}(?![\w$])|\.\.\.{re.escape(name)}(?![\w$])")
    return alone.search(prefix) is not None or alone.search(suffix) is not None
