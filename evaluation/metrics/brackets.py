"""A scanner that knows strings, comments and brackets: where a call, an argument or a statement ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

OPENERS = "([{"
CLOSERS = ")]}"
_HASH_COMMENTS = frozenset({"python"})


@dataclass(frozen=True, slots=True)
class CodeChar:
    """A character outside strings and comments, with the bracket depth before it."""

    index: int
    char: str
    depth: int


def code_chars(text: str, language: str) -> Iterator[CodeChar]:
    """Characters outside strings and comments; line ends of comments are yielded. Total: an open string runs on."""
    comment = "#" if language in _HASH_COMMENTS else "//"
    depth = position = 0
    while position < len(text):
        char = text[position]
        if text.startswith(comment, position):
            position = _line_end(text, position)
        elif char in "\"'" or (char == "`" and comment == "//"):
            position = _string_end(text, position, language)
        else:
            yield CodeChar(position, char, depth)
            depth += (char in OPENERS) - (char in CLOSERS)
            position += 1


def unmatched_closer(text: str, language: str) -> int | None:
    """Index of the first closing bracket that closes nothing opened in ``text``."""
    return next((c.index for c in code_chars(text, language) if c.char in CLOSERS and c.depth == 0), None)


def argument_end(text: str, language: str) -> int | None:
    """Index where the first argument ends: a comma or closing bracket outside the argument's own brackets."""
    return next((c.index for c in code_chars(text, language) if c.depth == 0 and c.char in CLOSERS + ","), None)


def statement_end(text: str, language: str) -> int | None:
    """Index where the statement ends: a line end with every bracket closed, or a bracket that is not its own."""
    chars = code_chars(text, language)
    return next((c.index for c in chars if c.depth == 0 and (c.char in CLOSERS or c.char == "\n")), None)


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _string_end(text: str, start: int, language: str) -> int:
    quote = text[start]
    if language == "python" and text.startswith(quote * 3, start):
        end = text.find(quote * 3, start + 3)
        return len(text) if end < 0 else end + 3
    if (
        language == "rust"
        and quote == "'"
        and text[start + 2 : start + 3] != "'"
        and text[start + 1 : start + 2] != "\\"
    ):
        return start + 1  # a lifetime
    position = start + 1
    while position < len(text) and text[position] != quote:
        if text[position] == "\n" and quote != "`":
            return position  # not closed on its line
        position += 2 if text[position] == "\\" else 1
    return min(len(text), position + 1)
