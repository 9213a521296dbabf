"""A long buffer with less to check: bodies that no answer about the hole depends on are blanked in place.

Every character keeps its offset and every line its number, so whatever a checker reports needs no translation. A body
may go when its function's type is known without it: where the checker does not infer return types (Python), or where
one is written (TypeScript). Bodies that bind attributes or globals, and those around the hole, stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import MappingProxyType

import tree_sitter

from holefill.context.items import CharOffset
from holefill.context.syntax.changes import Piece
from holefill.context.syntax.languages import grammar
from holefill.context.syntax.parsing import Parsed, encode
from holefill.context.types.holes import HoleAt
from holefill.context.types.oracle import Hole

_LONG_CHARS = 24_000
"""Shorter buffers are checked whole, in less time than this would save."""
LONG_FOR_REPORTS = 6_000
"""Reports and revealed types check all of the file; the other questions, the function around the hole."""
_NOTHING = re.compile(rb"(?:\s|#[^\n]*(?:\n|\Z))*")
"""A comment takes its whole line: a row of ``#`` that could be split anywhere would be tried in every way."""
_MIN_BODY = 8
_TS = (
    "(function_declaration return_type: (_) body: (statement_block) @body)"
    "(method_definition return_type: (_) body: (statement_block) @body)"
    "(arrow_function return_type: (_) body: (statement_block) @body)"
)
_BODIES: Mapping[str, str] = MappingProxyType(
    {"python": "(function_definition body: (block) @body)", "typescript": _TS, "tsx": _TS}
)
_STAYS = re.compile(
    rb"(?<![\w.])(?:self|cls)\.\w+[^\n=()]*=(?!=)|(?:^|[;:])[ \t]*global\s|\bsetattr\(",
    re.M,
)
_NONLOCAL = re.compile(rb"(?:^|[;:])[ \t]*nonlocal\s", re.M)
"""Binds names of a function around: whoever has all of that function blanked need not care."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """``blanked`` are ranges of characters of the hole's text, in order, none of them at the hole."""

    hole: Hole
    """The same hole in the blanked text."""
    blanked: tuple[tuple[int, int], ...]
    whole: str

    def filled(self, text: str) -> str:
        """The same for the text with a fill in place of the hole: what stands after it is shifted."""
        shift = len(text) - len(self.whole)
        moved = (
            (start + shift, end + shift) if start >= self.hole.end else (start, end) for start, end in self.blanked
        )
        return _blank(text, self.hole.language, moved)


def skeleton(at: HoleAt, long_chars: int | None = None) -> Skeleton:
    """Of a buffer shorter than ``long_chars``, or of another language: everything stays."""
    hole, parsed = at.hole, at.repair.parsed
    is_long = len(hole.text) >= (_LONG_CHARS if long_chars is None else long_chars)
    ranges = tuple(_ranges(parsed, hole)) if is_long and hole.language in _BODIES else ()
    if not ranges:
        return Skeleton(hole, (), hole.text)
    return Skeleton(replace(hole, text=_blank(hole.text, hole.language, ranges)), ranges, hole.text)


def _ranges(parsed: Parsed, hole: Hole) -> Iterator[tuple[int, int]]:
    """Outermost bodies first, so that none lies in another."""
    source = parsed.source
    to_chars = _Chars(source)
    line, line_end = hole.text.rfind("\n", 0, hole.start) + 1, hole.text.find("\n", hole.end)
    before = len(encode(hole.text[:line]))
    after = len(source) if line_end < 0 else len(encode(hole.text[:line_end]))
    last = kept = 0
    for body in parsed.pieces("bodies", _bodies):
        start, end = body.start, body.end
        if start < last or end - start < _MIN_BODY:
            continue
        at_hole = (end >= before and start <= after) or (end < before and goes_on(source, end, before))
        if at_hole or body.value or _stays(source[start:end], nested=start < kept):
            kept = max(kept, end)
        else:
            yield to_chars(start), to_chars(end)
            last = end


def goes_on(source: bytes, end: int, before: int) -> bool:
    """What is written there may go on with what ended: the hole is at its end, perhaps less indented."""
    return _NOTHING.fullmatch(source, end, before) is not None


def _bodies(parsed: Parsed, within: tuple[int, int] | None) -> list[Piece[bool]]:
    """``value``: it cannot be parsed."""
    cursor = tree_sitter.QueryCursor(_query(parsed.language))
    if within is not None:
        cursor.set_byte_range(*within)
    nodes = cursor.captures(parsed.root).get("body", [])
    return sorted(
        (Piece(node.start_byte, node.end_byte, node.has_error) for node in nodes),
        key=lambda piece: (piece.start, -piece.end),
    )


class _Chars:
    """Bytes → characters, asked in rising order."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._ascii = source.isascii()
        self._byte = 0
        self._char = 0

    def __call__(self, byte: int) -> CharOffset:
        if self._ascii:
            return CharOffset(byte)
        self._char += len(self._source[self._byte : byte].decode("utf-8", "replace"))
        self._byte = byte
        return CharOffset(self._char)


def _blank(text: str, language: str, ranges: Iterable[tuple[int, int]]) -> str:
    parts, last = [], 0
    for start, end in ranges:
        parts.append(text[last:start])
        parts.append(_emptied(text[start:end], language))
        last = end
    return "".join((*parts, text[last:]))


# From one keystroke to the next all bodies but one are the same.


@lru_cache(4096)
def _stays(body: bytes, nested: bool) -> bool:
    """``nested``: in a function whose body stays."""
    return _STAYS.search(body) is not None or (nested and _NONLOCAL.search(body) is not None)


@lru_cache(4096)
def _emptied(body: str, language: str) -> str:
    inside = "\n".join(" " * len(line) for line in body.split("\n"))
    return f"...{inside[3:]}" if language == "python" else f"{{{inside[1:-1]}}}"


@cache
def _query(language: str) -> tree_sitter.Query:
    return tree_sitter.Query(grammar(language), _BODIES[language])
