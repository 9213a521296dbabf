"""Which brackets are open before a hole and which of them the text after it already closes.

A light lexer, not a parser: it must answer at once on half-typed code. Strings and comments are skipped; strings end
at their line (except triple-quoted and template ones), so a stray quote cannot hide the rest of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from holefill.context.syntax.languages import LANGUAGES, line_comment

OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}
WINDOW = 256 * 1024
"""Characters looked at on each side, 4 ms for 100 kB. Whoever begins elsewhere than the file does may begin inside of
a string, and then takes its text for code and code for text."""


@dataclass(frozen=True, slots=True)
class Bracket:
    char: str
    at: int


@dataclass(frozen=True, slots=True)
class Hole:
    """What the brackets around a hole still need."""

    missing: str
    """Closers that neither side has, innermost first: the completion may supply them."""
    supplied: str
    """Closers the suffix already has for brackets open in the prefix, innermost first."""
    quote: str
    """Delimiter of the string the hole is inside of, or ''."""
    open: str = ""
    """Closers of all that is open, whoever has them, innermost first: the order in which they must come."""


@lru_cache(maxsize=32)
def _lexer(language: str) -> re.Pattern[str]:
    """Matches strings, comments (to skip them) and brackets; an unfinished string or comment runs to the end."""
    row = LANGUAGES.get(language)
    strings, multiline = (row.strings, row.multiline) if row is not None else (('"', "'"), ())
    parts = []
    for quote in strings:
        inside = r"\\[\s\S]|[\s\S]" if quote in multiline else r"\\.|[^\n\\]"
        parts.append(rf"{quote}(?:(?!{quote})(?:{inside}))*(?:{quote}|\Z)")
    if "'" not in strings:
        parts.append(r"'(?:\\[^'\n]*|[^'\\\n])'")  # a character; alone, Rust's lifetime
    parts.append(re.escape(line_comment(language)) + r"[^\n]*")
    if row is not None and row.block_comment is not None:
        opener, closer = map(re.escape, row.block_comment)
        parts.append(rf"{opener}[\s\S]*?(?:{closer}|\Z)")
    parts.append(r"[()\[\]{}]")
    return re.compile("|".join(parts))


def brackets(text: str, language: str, quote: str = "") -> Iterator[Bracket]:
    """Brackets of ``text`` that are code; ``quote`` is the delimiter of a string ``text`` starts inside of."""
    start = _string_end(text, quote) if quote else 0
    for match in _lexer(language).finditer(text, start):
        token = match.group()
        if len(token) == 1 and token in "()[]{}":
            yield Bracket(token, match.start())


def _string_end(text: str, quote: str) -> int:
    at = text.find(quote)
    if len(quote) == 1 and quote != "`":
        line_end = text.find("\n")
        if line_end != -1 and not -1 < at < line_end:
            return line_end
    return len(text) if at == -1 else at + len(quote)


def _quote_of(last: str) -> str:
    """Delimiter of the string ``last``, a text's last token, where it is not finished; else ''."""
    for quote in ('"""', "'''", "`", '"', "'"):
        if last.startswith(quote):
            closed = len(last) >= 2 * len(quote) and last.endswith(quote) and not _escaped(last, len(quote))
            return "" if closed else quote
    return ""


def _escaped(token: str, width: int) -> bool:
    body = token[:-width]
    return (len(body) - len(body.rstrip("\\"))) % 2 == 1


def unmatched_openers(text: str, language: str) -> str:
    """Openers without a closer, outermost first. A closer of another kind drops what it skips over."""
    return _read(text, language)[0]


def _read(text: str, language: str, openers: str = "") -> tuple[str, str]:
    """Openers that are open behind ``text``, when ``openers`` are before it; and the string or comment it ends with."""
    stack, last, end = list(openers), "", 0
    for match in _lexer(language).finditer(text):
        last, end = match.group(), match.end()
        if last in OPENERS:
            stack.append(last)
        elif CLOSERS.get(last) in stack:
            while stack.pop() != CLOSERS[last]:
                pass
    return "".join(stack), last if end == len(text) else ""


def unmatched_closers(text: str, language: str, quote: str = "") -> str:
    """Closers without an opener, in order."""
    return "".join(bracket.char for bracket in unmatched(text, language, quote)[1])


def unmatched(text: str, language: str, quote: str = "") -> tuple[list[Bracket], list[Bracket]]:
    """Openers without a closer, outermost first, and closers without an opener, in order."""
    stack: list[Bracket] = []
    closers: list[Bracket] = []
    for bracket in brackets(text, language, quote):
        if bracket.char in OPENERS:
            stack.append(bracket)
        elif any(opener.char == CLOSERS[bracket.char] for opener in stack):
            while stack.pop().char != CLOSERS[bracket.char]:
                pass
        else:
            closers.append(bracket)
    return stack, closers


def around(prefix: str, suffix: str, language: str) -> Hole:
    """Pairs the prefix's open brackets with the suffix's closers: from the outermost, where the suffix closes just what
    is open out there; innermost first in a file that is in the middle of another edit."""
    openers, quote = _before(prefix, language)
    stack = list(openers)
    missing: list[str] = []
    supplied: list[str] = []
    opened = "".join(OPENERS[opener] for opener in reversed(stack))
    closers = closers_after(suffix, language, quote)
    if len(suffix) <= WINDOW and opened.endswith(closers):
        return Hole(opened[: len(opened) - len(closers)], closers, quote, opened)
    for closer in closers:
        if CLOSERS[closer] not in stack:
            continue
        while (opener := stack.pop()) != CLOSERS[closer]:
            missing.append(OPENERS[opener])
        supplied.append(closer)
    if len(suffix) <= WINDOW:  # else the rest may be closed further down
        missing += [OPENERS[opener] for opener in reversed(stack)]
    return Hole("".join(missing), "".join(supplied), quote, opened)


def _before(prefix: str, language: str) -> tuple[str, str]:
    """Openers that ``prefix`` leaves open, outermost first, and the delimiter of the string it ends in."""
    read = prefix[-WINDOW:]
    if len(prefix) > WINDOW:
        read = read[read.find("\n") + 1 :]
    line = read.rfind("\n") + 1
    openers, last = _lines_before(read[:line], language)
    openers, last = _read(read, language) if last else _read(read[line:], language, openers)
    return openers, _quote_of(last)


@lru_cache(maxsize=4)
def _lines_before(lines: str, language: str) -> tuple[str, str]:
    """``_read`` of whole lines, which stay the same while someone types. Where a string or a comment goes on behind
    them, what follows is not to be read without them."""
    return _read(lines, language)


@lru_cache(maxsize=4)
def closers_after(suffix: str, language: str, quote: str) -> str:
    """Closers that ``suffix`` has too many. While someone types it stays the same."""
    return unmatched_closers(suffix[:WINDOW], language, quote)
