"""Holes to learn from: the kinds the product meets, cut out of finished source files.

- line: from a cardinal point (after a dot, a bracket, an operator …) to the line's end
- statement: after the indentation, one whole statement
- call: the rest of an argument list
- lines: whole lines from column 0, ending before the newline
- newlines: from a line's end over whole lines and the next newline, so that neither side of the hole has one
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
    {"line": 0.28, "statement": 0.2, "call": 0.17, "lines": 0.15, "newlines": 0.2}
)
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
        last = min(len(lines) - 1, number + generator.choice((1, 1, 1, 2, 2, 3, 4, 5, 6)))
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
