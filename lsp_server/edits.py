"""Is the file in the middle of an edit somewhere else than at the cursor?

Then no answer can be asked to close it: a bracket that was left open fifty lines above is not this hole's to close.
"""

from __future__ import annotations

from functools import lru_cache

from holefill.lsp_server.brackets import CLOSERS, around, closers_after, unmatched


@lru_cache(maxsize=4)  # the prompt, the file read ahead and the answer ask about the same keystroke
def unfinished_elsewhere(prefix: str, suffix: str, language: str) -> bool:
    """Whether brackets that only the hole could match belong to other statements than the cursor's.

    A statement's continuation lines are indented deeper than its first line, or begin with a closer.
    """
    hole = around(prefix, suffix, language)
    if hole.missing:
        openers, _ = unmatched(prefix, language)
        if any(_is_left_behind(prefix, opener.at) for opener in openers[-len(hole.missing) :]):
            return True
    if len(closers_after(suffix, language, hole.quote)) <= len(hole.open):
        return False
    _, closers = unmatched(suffix, language, hole.quote)
    return _is_far(prefix, suffix, closers[0].at)


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
