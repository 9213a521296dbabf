"""Where import statements go in a file: into the statement that already imports from there, else among their like."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import tree_sitter

from holefill.context.items import CharOffset
from holefill.context.syntax.definitions import import_nodes
from holefill.context.syntax.languages import LANGUAGES
from holefill.context.syntax.parsing import Parsed, parse

_FROM = re.compile(r"from (?P<source>\S+) import (?P<names>\w[\w ,]*\w|\w)$")
_NAMED = re.compile(r"""import \{ (?P<names>[\w$][\w $,]*[\w$]|[\w$]) \} from (["'])(?P<source>.+?)\2;?$""")
_MODULE = re.compile(r"""^(?:from|import)\s+([.\w]+)""")
_SOURCE = re.compile(r"""["']([^"']*)["']\s*;?\s*$""")
_HEAD = frozenset({"comment", "hash_bang_line"})


@dataclass(frozen=True, slots=True)
class Insertion:
    """``text`` goes to ``offset`` of the file as it was."""

    offset: CharOffset
    text: str


def insertions(language: str, text: str, statements: Iterable[str]) -> tuple[Insertion, ...]:
    """In the file's order, one to an offset; none for a statement whose work the file's own imports do already."""
    if language not in LANGUAGES:
        return ()
    parsed = parse(language, text)
    block = _Block(parsed, text)
    found: dict[CharOffset, list[str]] = {}
    for statement in sorted(dict.fromkeys(statements), key=_rank):
        insertion = block.place(statement)
        if insertion is not None:
            found.setdefault(insertion.offset, []).append(insertion.text)
    # A name for the line that ends there goes before a new line.
    return tuple(Insertion(at, "".join(sorted(found[at], key=_is_line))) for at in sorted(found))


def _is_line(text: str) -> bool:
    return "\n" in text


class _Block:
    """The imports at the head of a file; those inside of functions and conditions are somebody's on purpose."""

    def __init__(self, parsed: Parsed, text: str) -> None:
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._source = parsed.source
        self._root = parsed.root
        top = [node for node in import_nodes(parsed) if node.parent == parsed.root]
        self._own = [node for node in top if node.type.startswith(("import_", "future_import"))]

    def place(self, statement: str) -> Insertion | None:
        lines = [self._said(node) for node in self._own]
        if statement.rstrip(";") in {line.rstrip(";") for line in lines}:
            return None
        for node, line in zip(self._own, lines, strict=True):
            merged = _merged(line, statement)
            if merged is not None:
                at, addition = merged
                return None if not addition else Insertion(CharOffset(self._chars(node.start_byte) + at), addition)
        rank = _rank(statement)
        before = [node for node, line in zip(self._own, lines, strict=True) if _rank(line) <= rank]
        if before:
            return Insertion(self._line_end(before[-1].end_byte), self._newline + statement)
        if self._own:
            return Insertion(self._chars(self._own[0].start_byte), statement + self._newline)
        return self._at_head(statement)

    def _at_head(self, statement: str) -> Insertion:
        """After the file's comment and docstring, set off by an empty line from code that follows."""
        last: tree_sitter.Node | None = None
        for node in self._root.children:
            if node.type in _HEAD and (last is None or node.start_point[0] - last.end_point[0] <= 1):
                last = node
            elif _is_docstring(node, last):
                last = node
                break
            else:
                break
        if last is None:
            return Insertion(CharOffset(0), statement + self._newline * (2 if self._text.strip() else 1))
        gap = "" if last.type in _HEAD else self._newline
        return Insertion(self._line_end(last.end_byte), self._newline + gap + statement)

    def _said(self, node: tree_sitter.Node) -> str:
        return self._source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def _chars(self, byte: int) -> CharOffset:
        return CharOffset(len(self._source[:byte].decode("utf-8", "replace")))

    def _line_end(self, byte: int) -> CharOffset:
        at = self._text.find("\n", self._chars(byte))
        if at < 0:
            return CharOffset(len(self._text))
        return CharOffset(at - 1 if self._text[at - 1 : at] == "\r" else at)


def _is_docstring(node: tree_sitter.Node, last: tree_sitter.Node | None) -> bool:
    inner = node.named_children[0] if node.type == "expression_statement" and node.named_children else None
    return inner is not None and inner.type == "string" and (last is None or last.type in _HEAD)


def _merged(line: str, statement: str) -> tuple[int, str] | None:
    """Where in ``line`` the statement's name goes; an empty addition: it is there. None: they have nothing in common.

    Only one-line statements of plain names: what somebody laid out over several lines keeps its form.
    """
    for pattern in (_FROM, _NAMED):
        mine, theirs = pattern.match(statement), pattern.match(line)
        if mine is not None and theirs is not None and mine["source"] == theirs["source"]:
            known = [name.strip() for name in theirs["names"].split(",")]
            return theirs.end("names"), "" if mine["names"] in known else f", {mine['names']}"
    return None


def _rank(statement: str) -> int:
    """Future, standard library, other packages, relative ones: the order of blocks that formatters agree on."""
    source = _SOURCE.search(statement)
    if source is not None:
        return 4 if source[1].startswith(".") else 2
    match = _MODULE.match(statement)
    module = "" if match is None else match[1]
    if module.startswith("."):
        return 4
    top = module.partition(".")[0]
    return 0 if top == "__future__" else 1 if top in sys.stdlib_module_names else 2
