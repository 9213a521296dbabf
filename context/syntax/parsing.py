"""Text → syntax tree, reusing the previous tree of the same document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tree_sitter

from holefill.context.syntax.changes import Change, Piece, carried, touches
from holefill.context.syntax.languages import grammar

T = TypeVar("T")
Range = tuple[int, int]
"""Of bytes; None, where one is wanted, is the whole file."""
Find = Callable[["Parsed", "Range | None"], "list[Piece[T]]"]
"""Reads from nodes that touch a range, in order of their starts, longer ones first; others may be among them.

What it reads from a node must follow from the node itself and from the types of those around it.
"""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A tree and the bytes it describes. tree-sitter counts bytes; ``ByteOffset`` is its unit."""

    language: str
    source: bytes
    tree: tree_sitter.Tree
    _found: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    _earlier: dict[str, tuple[Parsed, Change]] = field(default_factory=dict, compare=False, repr=False)
    """Per search the nearest earlier tree that has its result, and what changed since."""
    _again: dict[str, Callable[[Parsed], object]] = field(default_factory=dict, compare=False, repr=False)
    """The searches made in any tree of the document, to make them in another one."""

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

    def pieces(self, what: str, find: Find[T]) -> tuple[Piece[T], ...]:
        """All that ``find`` finds; from a tree that grew out of another one, only what changed is searched."""
        known: tuple[Piece[T], ...] | None = self._found.get(what)
        if known is None:
            self._again[what] = lambda other: other.pieces(what, find)
            earlier = self._earlier.pop(what, None)
            if earlier is None:
                known = tuple(find(self, None))
            else:
                old, change = earlier
                known = carried(old._found[what], change, list(_touching(find, self, (change.start, change.new_end))))
            self._found[what] = known
        return known

    def counts(self, what: str, find: Find[T]) -> Counter[T]:
        """How often ``find`` finds each value; not to be changed."""
        known: Counter[T] | None = self._found.get(what)
        if known is None:
            self._again[what] = lambda other: other.counts(what, find)
            earlier = self._earlier.pop(what, None)
            if earlier is None:
                known = Counter(piece.value for piece in find(self, None))
            else:
                old, change = earlier
                known = old._found[what].copy()
                known.update(piece.value for piece in _touching(find, self, (change.start, change.new_end)))
                known.subtract(piece.value for piece in _touching(find, old, (change.start, change.old_end)))
                known = +known
            self._found[what] = known
        return known

    def prepare(self) -> None:
        """Search now what was searched in earlier trees of the document."""
        for search in tuple(self._again.values()):
            search(self)

    def grows_from(self, old: Parsed, change: Change) -> None:
        """What was searched in ``old`` need not be searched again, the change apart."""
        for what, (older, before) in old._earlier.copy().items():
            self._earlier[what] = (older, before.then(change))
        for what in tuple(self._again):
            if what in old._found:
                self._earlier[what] = (old, change)


_NEIGHBOURS = 2
"""Comments above a definition belong to it in most languages, and count by what stands above them."""


def _touching(find: Find[T], parsed: Parsed, within: Range) -> Iterator[Piece[T]]:
    first, last = within
    for piece in find(parsed, (max(0, first - 1), last + 1)):
        if touches(piece.start, piece.end, first, last):
            yield piece


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
    parsed = Parsed(language, source, parser.parse(source, old_tree), _again=previous._again)
    change = Change(start, old_end, new_end)
    for changed in old_tree.changed_ranges(parsed.tree):
        change = change.over(changed.start_byte, changed.end_byte)
    parsed.grows_from(previous, change if language == "python" else _with_neighbours(parsed, change))
    return parsed


def _with_neighbours(parsed: Parsed, change: Change) -> Change:
    """Widened to whole statements of the file, and some more before and behind."""
    children = parsed.root.children
    inside = [at for at, node in enumerate(children) if touches(node.start_byte, node.end_byte, *_new(change))]
    if not inside:
        return change.over(0, len(parsed.source))
    first, last = max(0, inside[0] - _NEIGHBOURS), min(len(children) - 1, inside[-1] + _NEIGHBOURS)
    return change.over(children[first].start_byte, children[last].end_byte)


def _new(change: Change) -> Range:
    return change.start, change.new_end


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
