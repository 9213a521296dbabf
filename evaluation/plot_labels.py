"""Names beside a plot's rows: wrapped onto two lines, shortened in the middle where that is not enough."""

from __future__ import annotations

import re

_EM = {**dict.fromkeys("ijlI.,:;'|!`", 0.36), **dict.fromkeys('ftr /()[]{}-"\\', 0.46), **dict.fromkeys("mwMW@%", 1.0)}
_UPPER, _LOWER = 0.78, 0.65
"""Widths in em of DejaVu Sans, the widest of the fonts that stand in for ``system-ui``."""
_BREAK = re.compile(r"(?<=[ _/-])")
MAX_LINES = 2


def width(text: str) -> float:
    """In em, from above: SVG cannot measure what a reader's font will need."""
    return sum(_EM.get(c, _UPPER if c.isupper() or not c.isascii() else _LOWER) for c in text)


def fitted(label: str, room: float) -> tuple[str, ...]:
    """At most two lines, none wider than ``room`` em; the end survives, since that is what tells runs apart."""
    lines = _wrapped(label, room)
    if len(lines) <= MAX_LINES:
        return lines
    first = lines[0]
    return first, _end_of(label[len(first) :].strip(), room)


def _wrapped(label: str, room: float) -> tuple[str, ...]:
    lines, line = [], ""
    for piece in _BREAK.split(label):
        if line and width((line + piece).rstrip()) > room:
            lines.append(line.rstrip())
            line = ""
        line += piece
        while width(line.rstrip()) > room:
            kept = _longest_start(line, room)
            lines.append(line[:kept])
            line = line[kept:]
    return (*lines, line.rstrip()) if line.strip() or not lines else tuple(lines)


def _longest_start(text: str, room: float) -> int:
    return next((n for n in range(len(text) - 1, 1, -1) if width(text[:n]) <= room), 1)


def _end_of(text: str, room: float) -> str:
    start = next((n for n in range(len(text)) if width("…" + text[n:]) <= room), len(text))
    return "…" + text[start:].lstrip()
