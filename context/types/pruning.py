"""A skeleton with still less to check: what a file defines and nothing left of it names is blanked.

For what takes a check of the whole file: reports on a fill, and revealed types. What a file next door says in terms of
this one's classes may become unknown there, which hides an error, or a type, and never makes one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import tree_sitter

from holefill.context.syntax.parsing import Parsed, encode
from holefill.context.types.holes import HoleAt
from holefill.context.types.oracle import Hole
from holefill.context.types.skeleton import Skeleton, goes_on

_WORD = re.compile(r"[^\W\d]\w*")
_DEFINITIONS = frozenset({"function_definition", "class_definition", "decorated_definition"})
_VISIBLE = re.compile(r"\S")


@dataclass(frozen=True, slots=True)
class _Statement:
    """Characters of the hole's text; ``name`` is empty for what always stays."""

    start: int
    end: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Pruned:
    skeleton: Skeleton
    hole: Hole
    """In the pruned text."""
    statements: tuple[_Statement, ...]
    dropped: frozenset[_Statement]

    def filled(self, text: str) -> str:
        """The text with a fill in place of the hole, pruned; what the fill names stays."""
        slim = self.skeleton.filled(text)
        if not self.dropped:
            return slim
        shift = len(text) - len(self.skeleton.whole)
        first = text.rfind("\n", 0, self.hole.start) + 1
        line_end = text.find("\n", self.hole.end + shift)
        words = _words(text[first : len(text) if line_end < 0 else line_end])
        source = self.skeleton.hole.text
        back = _reached(source, self.dropped, words)
        moved = (
            (one.start + shift, one.end + shift) if one.start >= self.hole.end else (one.start, one.end)
            for one in self.statements
            if one in self.dropped and one not in back
        )
        return _blanked(slim, moved)


def pruned(skeleton: Skeleton, at: HoleAt) -> Pruned:
    """Python in long buffers; else the skeleton as it is."""
    source = skeleton.hole.text
    if not skeleton.blanked or at.hole.language != "python":
        return Pruned(skeleton, skeleton.hole, (), frozenset())
    statements = tuple(_statements(at.repair.parsed, at.hole))
    named = frozenset(one for one in statements if one.name)
    roots = frozenset().union(*(_words(source[one.start : one.end]) for one in statements if not one.name))
    dropped = named - _reached(source, named, roots)
    places = ((one.start, one.end) for one in statements if one in dropped)
    return Pruned(skeleton, replace(skeleton.hole, text=_blanked(source, places)), statements, dropped)


def _statements(parsed: Parsed, hole: Hole) -> Iterator[_Statement]:
    """Of the file, in order. Those on the hole's lines, or before a hole that may go on with them, stay."""
    source = parsed.source
    plain = len(source) == len(hole.text)
    line, line_end = hole.text.rfind("\n", 0, hole.start) + 1, hole.text.find("\n", hole.end)
    before = len(encode(hole.text[:line]))
    after = len(source) if line_end < 0 else len(encode(hole.text[:line_end]))
    char, byte = 0, 0
    for node in parsed.root.children:
        start, end = node.start_byte, node.end_byte
        first = start if plain else char + len(source[byte:start].decode("utf-8", "replace"))
        last = end if plain else first + len(source[start:end].decode("utf-8", "replace"))
        char, byte = last, end
        apart = end < before or start > after
        name = _name(parsed, node) if apart and not node.has_error else ""
        if name and end < before and goes_on(source, end, before):
            name = ""
        yield _Statement(first, last, name)


def _name(parsed: Parsed, node: tree_sitter.Node) -> str:
    """The one name that a statement binds: a function, a class, or a variable (tables of data can be long)."""
    if node.type == "expression_statement":
        return _variable(parsed, node)
    if node.type not in _DEFINITIONS:
        return ""
    inner = node.child_by_field_name("definition") or node
    name = inner.child_by_field_name("name")
    return "" if name is None else parsed.text(name)


def _variable(parsed: Parsed, statement: tree_sitter.Node) -> str:
    node = statement.children[0]
    left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
    if node.type != "assignment" or left is None or left.type != "identifier" or right is None:
        return ""
    binds_more = right.type == "assignment" or ":=" in parsed.text(right)
    name = parsed.text(left)
    return "" if binds_more or name.startswith("__") else name


def _reached(source: str, named: Iterable[_Statement], words: frozenset[str]) -> frozenset[_Statement]:
    """Of the named statements those that the words name, and those that these name in turn."""
    by_name: dict[str, list[_Statement]] = defaultdict(list)
    for one in named:
        by_name[one.name].append(one)
    found: set[_Statement] = set()
    queue = [words]
    while queue:
        for name in by_name.keys() & queue.pop():
            for one in by_name.pop(name):
                found.add(one)
                queue.append(_words(source[one.start : one.end]))
    return frozenset(found)


@lru_cache(4096)
def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text))


def _blanked(text: str, ranges: Iterable[tuple[int, int]]) -> str:
    parts: list[str] = []
    last = 0
    for start, end in ranges:
        parts += (text[last:start], _emptied(text[start:end]))
        last = end
    return "".join((*parts, text[last:]))


@lru_cache(4096)
def _emptied(text: str) -> str:
    return _VISIBLE.sub(" ", text)
