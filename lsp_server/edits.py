"""Is the file in the middle of an edit somewhere else than at the cursor?

Then no answer can be asked to close it: a bracket that was left open fifty lines above is not this hole's to close.
"""

from __future__ import annotations

from collections.abc import Iterator

from holefill.lsp_server.brackets import CLOSERS, OPENERS, around, brackets, closers_after


def unfinished_elsewhere(prefix: str, suffix: str, language: str) -> bool:
    """Whether brackets that only the hole could match belong to other statements than the cursor's.

    A statement's continuation lines are indented deeper than its first line, or begin with a closer.
    """
    hole = around(prefix, suffix, language)
    if hole.missing and any(_is_left_behind(prefix, at) for at in _open(prefix, language)[-len(hole.missing) :]):
        return True
    if len(closers_after(suffix, language, hole.quote)) <= len(hole.open):
        return False
    return _is_far(prefix, suffix, next(_closers(suffix, language, hole.quote), 0))


def _open(text: str, language: str) -> list[int]:
    """Offsets of brackets that stay open, outermost first."""
    stack: list[tuple[str, int]] = []
    for bracket in brackets(text, language):
        if bracket.char in OPENERS:
            stack.append((bracket.char, bracket.at))
        elif any(char == CLOSERS[bracket.char] for char, _ in stack):
            while stack.pop()[0] != CLOSERS[bracket.char]:
                pass
    return [at for _, at in stack]


def _closers(suffix: str, language: str, quote: str) -> Iterator[int]:
    """Offsets of closers that ``suffix`` does not open itself."""
    stack: list[str] = []
    for bracket in brackets(suffix, language, quote):
        if bracket.char in OPENERS:
            stack.append(bracket.char)
        elif CLOSERS[bracket.char] in stack:
            while stack.pop() != CLOSERS[bracket.char]:
                pass
        else:
            yield bracket.at


def _is_left_behind(prefix: str, at: int) -> bool:
    """Whether another statement has begun since the bracket at ``at`` was opened."""
    first = prefix.rfind("\n", 0, at) + 1
    indent = _indent(prefix[first:])
    between = prefix[at:].split("\n")[1:-1]
    return any(line.strip() and _indent(line) <= indent and line.lstrip()[0] not in CLOSERS for line in between)


def _is_far(prefix: str, suffix: str, at: int) -> bool:
    """Whether another statement begins between the cursor's line and that of the closer at ``at`` of ``suffix``."""
    lines = suffix[:at].split("\n")[1:]
    if not lines:
        return False
    start = prefix.rfind("\n") + 1
    inside = (line for line in lines[:-1] if line.strip())
    closing = _indent(lines[-1] + suffix[at])
    return closing != _indent(prefix[start:] + "_") or any(_indent(line) <= closing for line in inside)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
