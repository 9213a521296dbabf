"""Holes to learn from: the kinds the product meets, cut out of finished source files.

- line: from a cardinal point (after a dot, a bracket, an operator …) to the line's end
- statement: after the indentation, one whole statement
- call: the rest of an argument list
- lines: whole lines from column 0, ending before the newline
- newlines: from a line's end over whole lines and the next newline, so that neither side of the hole has one

Both end where the text itself says so: with a statement and its block, or with the paragraph.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from holefill.evaluation.cardinal_points import cardinal_points
from holefill.evaluation.metrics.brackets import statement_end, unmatched_closer
from holefill.evaluation.metrics.identifiers import identifiers

SHARES: Mapping[str, float] = MappingProxyType(
    {"line": 0.28, "statement": 0.2, "call": 0.17, "lines": 0.2, "newlines": 0.15}
)
PARAGRAPHS = 0.4
"""Share of ``lines`` and ``newlines`` that go on to the end of the paragraph."""
MAX_LINES = 6
MIN_CHARS, MAX_CHARS = 3, 300
_SKIPPED = re.compile(r"\s*(?:import\b|from\s+\S+\s+import\b|package\b|#|//|/?\*|\"\"\"|'''|[\])}>;,]*\s*$)")
_WINDOW = 4000
"""Characters behind a line in which its statement or call must end."""


@dataclass(frozen=True, slots=True)
class Hole:
    kind: str
    start: int
    end: int


def holes_of(text: str, language: str, count: int, generator: random.Random) -> list[Hole]:
    """At most ``count`` holes at different lines, kinds by ``SHARES``, lines with more names more often (§2.23)."""
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    wanted = [n for n, line in enumerate(lines) if n and line.strip() and not _SKIPPED.match(line) and len(line) < 200]
    in_string = _multiline_strings(text, starts, language)
    wanted = [number for number in wanted if number not in in_string]
    found: list[Hole] = []
    for number in _by_names(lines, wanted, language, generator)[: 3 * count]:
        kind = generator.choices(list(SHARES), list(SHARES.values()))[0]
        choices = [hole for hole in _at(text, lines, starts, number, language, kind, generator) if _fits(text, hole)]
        if choices and len(found) < count:
            found.append(generator.choice(choices))
    return found


def _by_names(lines: list[str], wanted: list[int], language: str, generator: random.Random) -> list[int]:
    """A weighted shuffle: the weight of a line is 1 + the number of different names on it."""
    keys = {n: generator.random() ** (1 / (1 + len(set(identifiers(lines[n], language))))) for n in wanted}
    return sorted(wanted, key=lambda number: -keys[number])


def _at(
    text: str, lines: list[str], starts: list[int], number: int, language: str, kind: str, generator: random.Random
) -> Iterator[Hole]:
    line, start = lines[number], starts[number]
    if kind in ("lines", "newlines"):
        last = min(len(lines) - 1, _unit_end(lines, number, paragraph=generator.random() < PARAGRAPHS))
        if kind == "lines":
            yield Hole(kind, start, starts[last] - 1)
        else:
            yield Hole(kind, start - 1, starts[last])
        return
    for point in cardinal_points(line, language):
        at = start + point.column
        rest = text[at : at + _WINDOW]
        if kind == "line" and point.after != "indent":
            yield Hole(kind, at, start + len(line))
        elif kind == "statement" and point.after == "indent":
            end = statement_end(rest, language)
            yield Hole(kind, at, start + len(line) if end is None else at + end)
        elif kind == "call" and point.after in ("(", ","):
            end = unmatched_closer(rest, language)
            if end is not None:
                yield Hole(kind, at, at + len(rest[:end].rstrip()))


def _unit_end(lines: list[str], number: int, *, paragraph: bool) -> int:
    """Number of the line behind the statement that begins at ``number`` with its block; or behind all that follows
    before a blank line or an outer statement. Either way a model can tell from the text where it has to end."""
    indent = _indent(lines[number])
    end = number + 1
    while end < len(lines):
        line = lines[end]
        if line.strip():
            closes = _indent(line) == indent and line.lstrip()[0] in ")]}"
            if _indent(line) <= indent and not closes and not (paragraph and _indent(line) == indent):
                break
        elif paragraph or not _deeper_behind(lines, end, indent):
            break
        end += 1
    return end


def _deeper_behind(lines: list[str], number: int, indent: int) -> bool:
    """Does the block go on behind the blank line ``number``?"""
    behind = next((line for line in lines[number : number + MAX_LINES] if line.strip()), "")
    return _indent(behind) > indent


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _fits(text: str, hole: Hole) -> bool:
    target = text[hole.start : hole.end]
    return (
        MIN_CHARS <= len(target.strip()) <= MAX_CHARS
        and target.strip("\n").count("\n") < MAX_LINES
        and any(char.isalpha() for char in target)
    )


def _multiline_strings(text: str, starts: list[int], language: str) -> set[int]:
    """Numbers of the lines that begin inside a documentation string or a block comment."""
    if language == "python":
        marks = [match.start() for match in re.finditer(r'"""|\'\'\'', text)]
        spans = list(zip(marks[::2], marks[1::2], strict=False))
    else:
        spans = [match.span() for match in re.finditer(r"/\*.*?\*/", text, re.S)]
    inside: set[int] = set()
    number = 0
    for first, last in spans:
        while number < len(starts) and starts[number] <= first:
            number += 1
        while number < len(starts) and starts[number] <= last:
            inside.add(number)
            number += 1
    return inside
