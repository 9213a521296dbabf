"""A broken buffer around the cursor → one that parses: sentinel, then the closers the text after it does not supply.

Error recovery decides everything: after an unclosed call tree-sitter loses the definitions that follow (measured, all
of them in TypeScript). At most four variants are parsed, each incrementally; the one with the fewest ERROR bytes wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from holefill.context.syntax.languages import LANGUAGES, Language
from holefill.context.syntax.parsing import Parsed, error_bytes, parse
from holefill.context.syntax.tokens import (
    CLOSERS,
    OPENERS,
    OpenState,
    open_at_end,
    open_interpolation,
    unmatched_closers,
)

SENTINEL = "_hole_"
_MAX_VARIANTS = 4
_MAX_REGION = 60_000
"""Characters looked at on each side when the enclosing top-level statement is longer than that."""
_STATEMENT_START = re.compile(r"^(?=[^\s)\]}#/*])", re.M)
_BLOCK = re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+\w", re.M)
_CONTINUES = re.compile(r"\s*[^\s)\]}]")


@dataclass(frozen=True, slots=True)
class Repair:
    """``text`` = prefix + sentinel + ``inserted`` + suffix; ``hole`` is the character offset of the sentinel."""

    text: str
    hole: int
    inserted: str
    parsed: Parsed
    errors: int
    """ERROR bytes left in the whole file."""


def repair(language: str, text: str, offset: int, previous: Parsed | None = None) -> Repair:
    """The best repaired buffer for a hole at ``offset``; ``previous`` is any earlier state of the same document."""
    best: Repair | None = None
    seed = previous
    for inserted in variants(language, text, offset):
        candidate_text = f"{text[:offset]}{SENTINEL}{inserted}{text[offset:]}"
        parsed = parse(language, candidate_text, seed)
        seed = parsed
        candidate = Repair(candidate_text, offset, inserted, parsed, error_bytes(parsed))
        if best is None or candidate.errors < best.errors:
            best = candidate
        if best.errors == 0:
            break
    assert best is not None  # there is always a first variant
    return best


def variants(language: str, text: str, offset: int) -> tuple[str, ...]:
    """What to insert after the sentinel, most likely first."""
    row = LANGUAGES[language]
    before, after = _region(text, offset)
    state = open_at_end(language, _of_block(row, before))
    if state.comment:
        return ("",)
    wanted, supplied = _balance(language, state, after)
    rest = after.split("\n", 1)[0]
    # A string of several lines is closed further down, unless it is the one being typed.
    string = (
        "" if not state.string or state.string in (after if state.string in row.multiline else rest) else state.string
    )
    braces = open_interpolation(language, before, state)
    if braces is not None and "}" not in rest:
        string = braces + string
    gap = _Gap(
        row, before.rsplit("\n", 1)[-1], _statement_line(before), after, state, string + wanted, supplied, rest.strip()
    )
    first, *others = _tails(gap)
    other_string = [("" if string else state.string) + wanted] if state.string else []
    return tuple(dict.fromkeys((first, *other_string, *others, "")))[:_MAX_VARIANTS]


@dataclass(frozen=True, slots=True)
class _Gap:
    """What is known of the text around the hole."""

    row: Language
    line: str
    """The cursor's line up to the cursor."""
    statement: str
    """The first line of the cursor's statement."""
    after: str
    state: OpenState
    closers: str
    """What must be closed here."""
    surplus: str
    """A closer further down that nothing opens: its opener belongs into the hole."""
    rest: str
    """The cursor's line after the cursor, stripped."""

    @property
    def opens_block(self) -> bool:
        first = re.match(r"[\s}]*(\w*)", self.statement)
        return first is not None and first[1] in self.row.block_words

    @property
    def inside_list(self) -> bool:
        left = self.state.brackets[: len(self.state.brackets) - sum(closer in CLOSERS for closer in self.closers)]
        return bool(left) and left[-1] in ("(", "[")


def _tails(gap: _Gap) -> Iterator[str]:
    closers, rest = gap.closers, gap.rest
    if gap.inside_list and not rest and _CONTINUES.match(gap.after):
        yield closers + ","
    if gap.surplus in (")", "]"):
        yield closers + ("(" if gap.surplus == ")" else "[")
    if gap.row.indented_blocks:
        yield from _indented_tails(gap)
        return
    if gap.surplus == "}":
        yield closers + " {"
        if gap.line.rstrip().endswith(("=", "(", ",", ":")):
            yield closers + " => {"
        elif not closers:
            yield "() {"
    if gap.opens_block and not rest and "{" not in gap.line:
        yield closers + " {}"
    yield closers + ";" if gap.row.semicolons and not rest and not gap.inside_list else closers
    yield closers
    if closers and not rest:
        yield closers + " {}"


def _indented_tails(gap: _Gap) -> Iterator[str]:
    closed = not gap.rest or gap.rest[0] in CLOSERS
    if gap.opens_block and closed and ":" not in gap.rest:
        yield gap.closers + (":" if _next_is_deeper(gap.statement, gap.after) else ": pass")
    yield gap.closers
    if gap.opens_block:
        yield gap.closers + ": pass"


def _balance(language: str, state: OpenState, after: str) -> tuple[str, str]:
    """Closers of the innermost open brackets that the text after the cursor does not bring, innermost first; and its
    first closer that has no partner at all.

    The text after closes the outer ones, so the longest tail of the stack that its closers can close is kept.
    """
    wanted = [OPENERS[opener] for opener in reversed(state.brackets)]
    supplied = list(unmatched_closers(language, _before_next_block(LANGUAGES[language], after)))
    for dropped in range(len(wanted) + 1):
        remaining = wanted[dropped:]
        if supplied[: len(remaining)] == remaining:
            surplus = supplied[len(remaining)] if len(supplied) > len(remaining) else ""
            return "".join(wanted[:dropped]), surplus
    # The text after closes something before what is open here: its opener is the hole.
    return "".join(wanted), ""


def _region(text: str, offset: int) -> tuple[str, str]:
    """The enclosing top-level statement, as the text of it before and after the cursor: from an unindented line on."""
    low = max(0, offset - _MAX_REGION)
    line_start = text.rfind("\n", 0, offset) + 1
    start = low
    for match in _STATEMENT_START.finditer(text, low, line_start + 1):
        start = match.start()
    high = min(len(text), offset + _MAX_REGION)
    following = _STATEMENT_START.search(text, min(high, _line_end(text, offset)), high)
    return text[start:offset], text[offset : following.start() if following is not None else high]


def _of_block(row: Language, before: str) -> str:
    """From the nearest line on that begins a function or class: no bracket is open across it.

    All of it where such a line may stand in a string of several lines.
    """
    start = 0
    for match in _BLOCK.finditer(before) if row.indented_blocks else ():
        start = match.start()
    in_string = any(before.count(quotes, 0, start) % 2 for quotes in row.multiline)
    return before if in_string else before[start:]


def _before_next_block(row: Language, after: str) -> str:
    """The same for what stands after: no closer further down has its partner up here."""
    following = _BLOCK.search(after, 1) if row.indented_blocks else None
    return after if following is None else after[: following.start()]


def _line_end(text: str, offset: int) -> int:
    end = text.find("\n", offset)
    return len(text) if end < 0 else end + 1


def _statement_line(before: str) -> str:
    """The line on which the cursor's statement began: further up when the cursor's line continues a bracket."""
    lines = before.split("\n")[-20:]
    depth = 0
    for line in reversed(lines):
        depth += sum(line.count(opener) for opener in "([") - sum(line.count(closer) for closer in ")]")
        if depth > 0:
            return line
    return lines[-1]


def _next_is_deeper(line: str, after: str) -> bool:
    following = next((known for known in after.split("\n")[1:] if known.strip()), "")
    return len(following) - len(following.lstrip()) > len(line) - len(line.lstrip())
