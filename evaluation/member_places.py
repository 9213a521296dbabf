"""Real ``receiver.member`` in Python source, as places to complete at.

Members of ``self``, of ``cls`` and of modules are left out: what answers those needs no types.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


@dataclass(frozen=True, slots=True)
class Place:
    line: int
    """From 0."""
    column: int
    """Behind the dot, in characters."""
    member: str

    def around(self, text: str) -> tuple[str, str, str]:
        """Of the file's ``text``: up to the dot, the rest of the line, and what follows with its line break."""
        lines = _lines(text)
        here = lines[self.line]
        rest = here[self.column :].rstrip("\r\n")
        before = "".join(lines[: self.line]) + here[: self.column]
        return before, rest, text[len(before) + len(rest) :]


def places_of(text: str) -> list[Place]:
    """None in a text that does not parse."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of other people's escapes
            tree = ast.parse(text)
    except (ValueError, SyntaxError):
        return []
    lines = _lines(text)
    imported = {
        (name.asname or name.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
    }
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node.end_lineno != node.value.end_lineno:
            continue
        if isinstance(node.value, ast.Name) and node.value.id in {"self", "cls", *imported}:
            continue
        assert node.value.end_lineno is not None, "parsed from text"
        line = lines[node.value.end_lineno - 1]
        column = len(line.encode()[: node.value.end_col_offset or 0].decode()) + 1
        if line[column - 1 :].startswith(f".{node.attr}"):
            found.append(Place(node.value.end_lineno - 1, column, node.attr))
    return found


def _lines(text: str) -> list[str]:
    """As ``ast`` counts them, with their ends."""
    return _LINE.findall(text)
