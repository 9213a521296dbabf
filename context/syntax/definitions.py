"""What a file defines: name, kind, signature, first line of documentation, span and container of each definition."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import tree_sitter

from holefill.context.syntax.changes import Piece, touches
from holefill.context.syntax.languages import query
from holefill.context.syntax.parsing import Parsed

CONTAINERS = frozenset({"class", "interface", "enum", "impl", "module"})
_TYPES = CONTAINERS - {"module"}
_WEAK = frozenset({"constant", "type"})
"""Kinds whose patterns are broad: another pattern that names the same node wins."""
_MAX_SIGNATURE = 300
_MAX_DOC = 160
_SPACE = re.compile(r"\s+")
_COMMENT_MARKS = re.compile(r"^[\s/*!#]+|[\s*/]+$|</?\w+>")
_PYTHON_QUOTES = re.compile(r"""^[rRbBuUfF]*("{3}|'{3}|"|')|("{3}|'{3}|"|')$""")


@dataclass(frozen=True, slots=True)
class Definition:
    """Offsets are bytes. ``body`` is where the body starts; it equals ``end`` where there is none."""

    name: str
    kind: str
    """class, interface, enum, impl, module, function, method, macro, type, constant, field or attribute."""
    signature: str
    doc: str
    start: int
    body: int
    end: int
    parent: str = ""
    """Dotted names of the enclosing classes and modules."""

    @property
    def qualified(self) -> str:
        return f"{self.parent}.{self.name}" if self.parent else self.name


@dataclass(frozen=True, slots=True)
class _Raw:
    """A definition, or an import (``kind`` is then empty and ``name`` the node's type), wherever it stands."""

    name: str
    kind: str
    signature: str = ""
    doc: str = ""
    body: int = 0
    """From its start on, in bytes."""
    owner: str = ""
    """The explicit container (a Go receiver, a C++ qualifier), if any."""
    named_at: int = 0


def definitions(parsed: Parsed, within: tuple[int, int] | None = None) -> tuple[Definition, ...]:
    """The definitions of a file in source order, locals of functions left out; ``within`` limits the byte range."""
    if within is not None:
        return _definitions(_find(parsed, within))
    return parsed.once("definitions", lambda whole: _definitions(whole.pieces("matches", _find)))


def import_nodes(parsed: Parsed, within: tuple[int, int] | None = None) -> list[tree_sitter.Node]:
    """The import statements of a file in source order; ``within``: those that touch these bytes."""
    found = []
    for piece in parsed.pieces("matches", _find):
        if not piece.value.kind and (within is None or touches(piece.start, piece.end, *within)):
            node = parsed.root.descendant_for_byte_range(piece.start, piece.end)
            while node is not None and node.type != piece.value.name:
                node = node.parent
            assert node is not None  # it was found there
            found.append(node)
    return found


def _definitions(pieces: Iterable[Piece[_Raw]]) -> tuple[Definition, ...]:
    found: dict[int, Piece[_Raw]] = {}
    for piece in pieces:
        if piece.value.kind:
            at = piece.start + piece.value.named_at
            known = found.get(at)
            if known is None or (known.value.kind in _WEAK and piece.value.kind not in _WEAK):
                found[at] = piece
    return tuple(_nested(sorted(found.values(), key=lambda piece: (piece.start, -piece.end))))


def _find(parsed: Parsed, within: tuple[int, int] | None) -> list[Piece[_Raw]]:
    cursor = tree_sitter.QueryCursor(query(parsed.language))
    if within is not None:
        cursor.set_byte_range(*within)
    found: dict[tuple[int, int, _Raw], Piece[_Raw]] = {}
    for _, captures in cursor.matches(parsed.root):
        for node in captures.get("import", ()):
            found.setdefault((node.start_byte, node.end_byte, one := _Raw(node.type, "")), _piece(node, one))
        if "name" in captures and (label := next((key for key in captures if key.startswith("definition.")), None)):
            node = captures[label][0]
            one = _raw(parsed, node, label.removeprefix("definition."), captures)
            found.setdefault((node.start_byte, node.end_byte, one), _piece(node, one))
    return sorted(found.values(), key=lambda piece: (piece.start, -piece.end))


def _piece(node: tree_sitter.Node, value: _Raw) -> Piece[_Raw]:
    return Piece(node.start_byte, node.end_byte, value)


def _raw(parsed: Parsed, node: tree_sitter.Node, kind: str, captures: dict[str, list[tree_sitter.Node]]) -> _Raw:
    body = captures["body"][0].start_byte if "body" in captures else node.end_byte
    name = captures["name"][0]
    return _Raw(
        name=parsed.text(name).strip("\"'"),
        kind=kind,
        signature=_signature(parsed, node, body),
        doc=_documentation(parsed, node, captures.get("body", [None])[0]),
        body=body - node.start_byte,
        owner=parsed.text(captures["parent"][0]) if "parent" in captures else "",
        named_at=name.start_byte - node.start_byte,
    )


def _nested(pieces: list[Piece[_Raw]]) -> Iterator[Definition]:
    """Fill in containers, turn functions of classes into methods, drop locals and repeated attributes."""
    stack: list[Definition] = []
    members: set[tuple[str, str]] = set()
    for piece in pieces:
        raw = piece.value
        while stack and stack[-1].end <= piece.start:
            stack.pop()
        containers = [outer for outer in stack if outer.kind in CONTAINERS]
        parent = raw.owner or ".".join(outer.name for outer in containers)
        kind = raw.kind
        if kind == "function" and (raw.owner or (containers and containers[-1].kind in _TYPES)):
            kind = "method"
        done = Definition(
            raw.name, kind, raw.signature, raw.doc, piece.start, piece.start + raw.body, piece.end, parent
        )
        local = bool(stack) and stack[-1].kind not in CONTAINERS
        if kind in ("field", "attribute"):
            if (parent, raw.name) in members or not containers:
                continue
            members.add((parent, raw.name))
            yield done
            continue
        stack.append(done)
        if not local and kind != "impl":
            yield done


def _signature(parsed: Parsed, node: tree_sitter.Node, body: int) -> str:
    raw = parsed.source[node.start_byte : min(body, node.start_byte + 4 * _MAX_SIGNATURE)].decode("utf-8", "replace")
    text = _SPACE.sub(" ", raw).strip()
    text = text.removesuffix("=>").rstrip(" {:;,")
    return text if len(text) <= _MAX_SIGNATURE else text[:_MAX_SIGNATURE].rstrip() + "…"


def _documentation(parsed: Parsed, node: tree_sitter.Node, body: tree_sitter.Node | None) -> str:
    if parsed.language == "python":
        return _docstring_line(parsed, body)
    comment = _comment_before(node)
    if comment is None:
        return ""
    lines = (_COMMENT_MARKS.sub("", line) for line in parsed.text(comment).splitlines())
    return next((line for line in lines if line and not line.startswith("@")), "")[:_MAX_DOC]


def _docstring_line(parsed: Parsed, body: tree_sitter.Node | None) -> str:
    first = body.named_child(0) if body is not None and body.named_child_count else None
    string = first.named_child(0) if first is not None and first.type == "expression_statement" else first
    if string is None or string.type != "string":
        return ""
    text = _PYTHON_QUOTES.sub("", parsed.text(string)).strip()
    return text.split("\n", 1)[0].strip()[:_MAX_DOC]


def _comment_before(node: tree_sitter.Node) -> tree_sitter.Node | None:
    """The comment that ends on the line above the definition (its first line, when it is a run of line comments)."""
    outer = node
    while outer.parent is not None and outer.parent.start_byte == outer.start_byte and outer.parent.parent is not None:
        outer = outer.parent
    if outer.parent is not None and outer.parent.type in (
        "export_statement",
        "type_declaration",
        "lexical_declaration",
    ):
        outer = outer.parent
    comment, row = None, outer.start_point.row
    sibling = outer.prev_named_sibling
    while sibling is not None and "comment" in sibling.type and row - sibling.end_point.row <= 1:
        before = sibling.prev_named_sibling
        trails = before is not None and before.end_point.row == sibling.start_point.row and "comment" not in before.type
        if trails and sibling.end_point.row < row:
            break  # it stands behind the statement above
        comment, row = sibling, sibling.start_point.row
        sibling = sibling.prev_named_sibling
    return comment
