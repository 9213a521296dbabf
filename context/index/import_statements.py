"""The import statements of a file as data; resolving them to files is ``imports``' work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter

from holefill.context.syntax.changes import Piece
from holefill.context.syntax.definitions import import_nodes
from holefill.context.syntax.parsing import Parsed

STAR = "*"
MODULE = ""
"""``ImportedName.name`` of a binding to the module itself."""


@dataclass(frozen=True, slots=True)
class ImportedName:
    name: str
    local: str
    """What this file calls it."""


@dataclass(frozen=True, slots=True)
class Import:
    """``level`` counts the dots of a Python relative import. ``reexport``: binds nothing here (TypeScript)."""

    module: str
    names: tuple[ImportedName, ...] = ()
    level: int = 0
    reexport: bool = False


def import_statements(parsed: Parsed) -> tuple[Import, ...]:
    return parsed.once("import statements", _statements)


def _statements(parsed: Parsed) -> tuple[Import, ...]:
    return tuple(found for piece in parsed.pieces("imports", _find) for found in piece.value)


def _find(parsed: Parsed, within: tuple[int, int] | None) -> list[Piece[tuple[Import, ...]]]:
    read = _READERS.get(parsed.language, _plain)
    return [Piece(node.start_byte, node.end_byte, tuple(read(parsed, node))) for node in import_nodes(parsed, within)]


def _python(parsed: Parsed, node: tree_sitter.Node) -> Iterator[Import]:
    if node.type == "import_statement":
        for name in node.children_by_field_name("name"):
            module, local = _python_alias(parsed, name)
            yield Import(module, (ImportedName(MODULE, local),))
        return
    source = node.child_by_field_name("module_name")
    spelled = "" if source is None else parsed.text(source)
    module = spelled.lstrip(".")
    level = len(spelled) - len(module)
    if any(child.type == "wildcard_import" for child in node.children):
        yield Import(module, (ImportedName(STAR, STAR),), level)
        return
    names = (_python_alias(parsed, name) for name in node.children_by_field_name("name"))
    yield Import(module, tuple(ImportedName(name, local) for name, local in names), level)


def _python_alias(parsed: Parsed, node: tree_sitter.Node) -> tuple[str, str]:
    alias = node.child_by_field_name("alias")
    name = node.child_by_field_name("name")
    if alias is not None and name is not None:
        return parsed.text(name), parsed.text(alias)
    return parsed.text(node), parsed.text(node)


def _ecmascript(parsed: Parsed, node: tree_sitter.Node) -> Iterator[Import]:
    if node.type == "variable_declarator":
        yield from _require(parsed, node)
        return
    source = node.child_by_field_name("source")
    if source is None:
        return
    names: list[ImportedName] = []
    reexport = node.type == "export_statement"
    stack = list(reversed(node.children))
    while stack:
        child = stack.pop()
        if child.type in ("import_specifier", "export_specifier"):
            name, alias = child.child_by_field_name("name"), child.child_by_field_name("alias")
            if name is not None:
                names.append(ImportedName(parsed.text(name), parsed.text(alias or name)))
        elif child.type in ("namespace_import", "namespace_export"):
            names.extend(ImportedName(MODULE, parsed.text(part)) for part in child.named_children)
        elif child.type == "identifier" and child.parent is not None and child.parent.type == "import_clause":
            names.append(ImportedName("default", parsed.text(child)))
        elif child.type == "*" and reexport:
            names.append(ImportedName(STAR, STAR))
        else:
            stack.extend(reversed(child.children))
    yield Import(_unquoted(parsed, source), tuple(names), reexport=reexport)


def _require(parsed: Parsed, node: tree_sitter.Node) -> Iterator[Import]:
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    arguments = None if value is None else value.child_by_field_name("arguments")
    if name is None or arguments is None or not arguments.named_children:
        return
    module = _unquoted(parsed, arguments.named_children[0])
    if name.type == "identifier":
        yield Import(module, (ImportedName(MODULE, parsed.text(name)),))
        return
    names: list[ImportedName] = []
    for part in name.named_children:
        if part.type == "shorthand_property_identifier_pattern":
            names.append(ImportedName(parsed.text(part), parsed.text(part)))
        elif part.type == "pair_pattern":
            key, target = part.child_by_field_name("key"), part.child_by_field_name("value")
            if key is not None and target is not None:
                names.append(ImportedName(parsed.text(key), parsed.text(target)))
    yield Import(module, tuple(names))


def _plain(parsed: Parsed, node: tree_sitter.Node) -> Iterator[Import]:
    yield Import(" ".join(parsed.text(node).split())[:200])


def _unquoted(parsed: Parsed, node: tree_sitter.Node) -> str:
    return parsed.text(node).strip("\"'`")


_READERS = {
    "python": _python,
    "typescript": _ecmascript,
    "tsx": _ecmascript,
    "javascript": _ecmascript,
}
