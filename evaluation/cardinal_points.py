"""Cardinal points: places in a line where a developer would ask (CodeFill, PAPERS §2.21).

After a dot, an opening bracket, a comma, an operator's ``=`` or a keyword that wants an expression, and at the first
character after the indentation; never inside a string, a comment or a name, nor where a bracket closes at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from holefill.evaluation.metrics.brackets import code_chars

_KEYWORD = re.compile(r"\b(?:return|yield|await|raise|throw|new|in|if|elif|while|case|assert|not|and|or)\s+$")
_ASSIGN = re.compile(r"(?<![=!<>])(?:[-+*/%&|^]|:|//|\*\*)?=\s*$")


@dataclass(frozen=True, slots=True)
class CardinalPoint:
    column: int
    after: str
    """The token before the cursor, or ``indent``."""


def cardinal_points(line: str, language: str) -> Iterator[CardinalPoint]:
    """Of one line of code, left to right; never at its end."""
    text = line.rstrip()
    indent = len(text) - len(text.lstrip())
    code = {c.index for c in code_chars(text, language)}
    if indent in code:
        yield CardinalPoint(indent, "indent")
    for column in range(indent + 1, len(text)):
        if column not in code and text[column] not in "\"'`":
            continue  # inside a string or a comment
        if column - 1 not in code or text[column] in ")]}=":
            continue  # nothing is left to write before a closing bracket; between == is no place
        after = _after(text, column)
        if after is not None:
            yield CardinalPoint(column, after)


def _after(text: str, column: int) -> str | None:
    before = text[:column]
    if text[column].isspace() and not before.endswith((".", "(")):
        return None  # the cursor stands after the space, not before it
    last = before.rstrip()[-1:]
    if before.endswith(".") and not before[-2:-1].isdigit():
        return "."
    if before.endswith(("(", "[")):
        return before[-1]
    if last == "," and before != before.rstrip():
        return ","
    if _ASSIGN.search(before) and before.endswith((" ", "=")):
        return "="
    keyword = _KEYWORD.search(before)
    return keyword.group().strip() if keyword is not None else None
