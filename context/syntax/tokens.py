"""Brackets and strings of a piece of code, without a parser: enough to know what is open at a cursor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from holefill.context.syntax.languages import LANGUAGES

OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = frozenset(OPENERS.values())


@dataclass(frozen=True, slots=True)
class OpenState:
    """What is open at the end of a text: brackets outermost first, and the delimiter of an unfinished string."""

    brackets: tuple[str, ...] = ()
    string: str = ""
    comment: bool = False
    inside: str = ""
    """The unfinished string up to the end, its delimiter included."""


def open_at_end(language: str, text: str) -> OpenState:
    stack: list[str] = []
    for token, unfinished in _tokens(language, text):
        if unfinished is not None:
            return OpenState(tuple(stack), unfinished, unfinished == "", token if unfinished else "")
        if token in OPENERS:
            stack.append(token)
        elif token in CLOSERS:
            _close(stack, token)
    return OpenState(tuple(stack))


def open_interpolation(language: str, before: str, state: OpenState) -> str | None:
    """What closes the ``{…`` of a Python f-string in which ``before`` ends, brace included; None outside of one."""
    start = len(before) - len(state.inside)
    if language != "python" or not state.string or before[start - 1 : start].lower() not in ("f", "r"):
        return None
    prefix = _PREFIX.search(before, 0, start)
    content = state.inside[len(state.string) :].replace("{{", "__").replace("}}", "__")
    at = content.rfind("{")
    if prefix is None or "f" not in prefix[0].lower() or at <= content.rfind("}"):
        return None
    inner = open_at_end(language, content[at + 1 :])
    return inner.string + "".join(OPENERS[opener] for opener in reversed(inner.brackets)) + "}"


_PREFIX = re.compile(r"(?<!\w)[fFrR]{1,2}$")


def unmatched_closers(language: str, text: str) -> tuple[str, ...]:
    """Closing brackets of ``text`` whose partners stand before it, in order."""
    stack: list[str] = []
    found: list[str] = []
    for token, _ in _tokens(language, text):
        if token in OPENERS:
            stack.append(token)
        elif token in CLOSERS:
            if stack and OPENERS[stack[-1]] == token:
                stack.pop()
            elif not stack:
                found.append(token)
    return tuple(found)


def _close(stack: list[str], closer: str) -> None:
    """Close the innermost partner; an unfinished bracket inside it is forgotten, a stray closer ignored."""
    for index in range(len(stack) - 1, -1, -1):
        if OPENERS[stack[index]] == closer:
            del stack[index:]
            return


def _tokens(language: str, text: str) -> Iterator[tuple[str, str | None]]:
    """Brackets; and last, when the text ends inside one, an unfinished string (its delimiter) or comment ("")."""
    row = LANGUAGES[language]
    for match in _pattern(language).finditer(text):
        kind = match.lastgroup
        token = match.group()
        if kind == "bracket":
            yield token, None
        elif kind == "line_comment":
            if match.end() == len(text):
                yield token, ""
        elif kind == "block_comment":
            if row.block_comment is not None and not token.endswith(row.block_comment[1]):
                yield token, ""
        elif kind is not None and match.end() == len(text):
            delimiter = next(known for known in row.strings if token.startswith(known))
            finished = len(token) >= 2 * len(delimiter) and re.search(
                rf"(?<!\\)(?:\\\\)*{re.escape(delimiter)}$", token[len(delimiter) - 1 :]
            )
            if not finished:
                yield token, delimiter


@cache
def _pattern(language: str) -> re.Pattern[str]:
    row = LANGUAGES[language]
    parts = [rf"(?P<line_comment>{re.escape(row.line_comment)}[^\n]*)"]
    if row.block_comment is not None:
        start, end = map(re.escape, row.block_comment)
        parts.append(rf"(?P<block_comment>{start}(?:(?!{end}).)*(?:{end}|\Z))")
    for index, delimiter in enumerate(row.strings):
        quote = re.escape(delimiter)
        inside = r"(?:\\.|(?!QUOTE).)*" if delimiter in row.multiline else r"(?:\\.|(?!QUOTE)[^\n])*"
        end = rf"(?:{quote}|\Z)" if delimiter in row.multiline else rf"(?:{quote}|(?=\n)|\Z)"
        parts.append(rf"(?P<string{index}>{quote}{inside.replace('QUOTE', quote)}{end})")
    parts.append(r"(?P<bracket>[()\[\]{}])")
    return re.compile("|".join(parts), re.S)
