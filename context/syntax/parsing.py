"""Text → syntax tree, reusing the previous tree of the same document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tree_sitter

from holefill.context.syntax.languages import grammar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A tree and the bytes it describes. tree-sitter counts bytes; ``ByteOffset`` is its unit."""

    language: str
    source: bytes
    tree: tree_sitter.Tree
    _found: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def root(self) -> tree_sitter.Node:
        return self.tree.root_node

    def text(self, node: tree_sitter.Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def once(self, what: str, find: Callable[[Parsed], T]) -> T:
        """What ``find`` reads from this tree, by its name: all who ask about the same keystroke share one search."""
        if what not in self._found:
            self._found[what] = find(self)
        found: T = self._found[what]
        return found


def encode(text: str) -> bytes:
    """UTF-8; lone surrogates, which editors can send, become question marks of the same meaning to a parser."""
    return text.encode("utf-8", "replace")


def parse(language: str, text: str, previous: Parsed | None = None) -> Parsed:
    """Parse ``text``; with the ``previous`` state of the same document only what changed is parsed again."""
    source = encode(text)
    parser = tree_sitter.Parser(grammar(language))
    if previous is None or previous.language != language:
        return Parsed(language, source, parser.parse(source))
    if previous.source == source:
        return previous
    old_tree = previous.tree.copy()
    start, old_end, new_end = changed_range(previous.source, source)
    old_tree.edit(
        start,
        old_end,
        new_end,
        _point(previous.source, start),
        _point(previous.source, old_end),
        _point(source, new_end),
    )
    return Parsed(language, source, parser.parse(source, old_tree))


def changed_range(old: bytes, new: bytes) -> tuple[int, int, int]:
    """(start, end in old, end in new) of the one replacement that turns ``old`` into ``new``, on character borders."""
    shortest = min(len(old), len(new))
    start = _equal_length(old, new, shortest)
    while start > 0 and start < len(old) and _continues(old[start]):
        start -= 1
    while start > 0 and start < len(new) and _continues(new[start]):
        start -= 1
    tail = _equal_length(old[::-1], new[::-1], shortest - start)
    while tail > 0 and _continues(old[len(old) - tail]):
        tail -= 1
    return start, len(old) - tail, len(new) - tail


def _equal_length(left: bytes, right: bytes, limit: int) -> int:
    """Length of the common beginning, by halving: comparing slices is one memcmp, comparing bytes a Python loop."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _continues(byte: int) -> bool:
    return byte & 0xC0 == 0x80


def _point(source: bytes, offset: int) -> tuple[int, int]:
    row = source.count(b"\n", 0, offset)
    return row, offset - (source.rfind(b"\n", 0, offset) + 1)


def error_bytes(parsed: Parsed) -> int:
    """Bytes covered by ERROR nodes, plus one per token the parser had to invent."""
    total, stack = 0, [parsed.root]
    while stack:
        node = stack.pop()
        if node.is_error:
            total += max(1, node.end_byte - node.start_byte)
        elif node.is_missing:
            total += 1
        elif node.has_error:
            stack.extend(node.children)
    return total
