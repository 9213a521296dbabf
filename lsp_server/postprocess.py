"""Text → text: what the engine returned becomes what the user sees. Pure; each step is one row of ``STEPS``.

The engine's own stop rule already ended the text; these steps make it fit its place. Order matters: lines are dropped
before brackets are counted, brackets before the overlap with the rest of the line, what is left may end only where the
file closes, whitespace is last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from holefill.context.redaction import redact
from holefill.lsp_server.brackets import CLOSERS, OPENERS, Hole, around, brackets, unmatched_closers
from holefill.lsp_server.closing import Closer
from holefill.lsp_server.completion import Reason
from holefill.lsp_server.loops import MIN_LENGTH, MIN_LENGTH_CUT_OFF, find_loop
from holefill.model.request import Candidate

MIN_WORD_OVERLAP = 2
"""An overlap of one letter with the text after the cursor is chance; of one bracket, quote or comma it is not."""
MAX_REPEATS = 2
"""A line may follow itself once; the third equal line is a loop of the model."""
SECRET_EDGE = 200
"""Characters on either side of the hole that may be part of a credential in it."""


@dataclass(frozen=True, slots=True)
class Place:
    """The hole, as far as the steps need it."""

    prefix: str
    suffix: str
    language: str
    truncated: bool = False
    """The engine ran out of tokens or time, so the last line may be half a line."""
    closes: bool = False
    """Nothing is shown that leaves the file open, whoever ended it: a stop rule does not know what a mask promised."""
    closer: Closer = field(default_factory=Closer, compare=False, repr=False)
    """Knows the file from earlier holes."""
    copied: Callable[[str], bool] | None = None
    """Whether a text repeats what the model was trained on and is not the user's; None where nobody knows."""

    @property
    def line_prefix(self) -> str:
        return self.prefix[self.prefix.rfind("\n") + 1 :]

    @property
    def line_suffix(self) -> str:
        return self.suffix.split("\n", 1)[0].rstrip("\r")

    def next_lines(self, count: int) -> list[str]:
        """First non-blank lines after the cursor's line; a non-blank rest of the line is the first of them."""
        lines = [line.rstrip() for line in self.suffix[:4000].split("\n")]
        return [line for line in lines if line.strip()][:count]


def unix_newlines(text: str, place: Place) -> str:
    """The editor maps newlines to the document's own."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def no_leading_blank_lines(text: str, place: Place) -> str:
    """On a blank line the text starts here, not a line below; its indentation is what the line already has."""
    if place.line_prefix.strip():
        body = text.lstrip("\n")
        return "\n" + body if text.startswith("\n\n") else text
    if not text.startswith("\n"):
        return text
    body = text.lstrip("\n")
    return body.removeprefix(place.line_prefix) if body.startswith(place.line_prefix) else text


def no_next_line(text: str, place: Place) -> str:
    """Ends before a line that the suffix already has."""
    following = place.next_lines(2)
    if not following:
        return text
    lines = text.split("\n")
    for index, line in enumerate(lines):
        whole = (place.line_prefix + line if index == 0 else line).rstrip()
        if not line.strip() or not _same_line(whole, following[0]):
            continue
        rest = [entry.rstrip() for entry in lines[index + 1 :] if entry.strip()]
        if len(following) == 1 or not rest or _same_line(rest[0], following[1]) or _names(whole):
            return "\n".join(lines[:index])
    return text


def _names(line: str) -> bool:
    return any(char.isalnum() for char in line)


def _same_line(line: str, other: str) -> bool:
    """Equal text; for lines of brackets only, equal indentation too, since ``}`` follows ``}`` in good code."""
    return line.strip() == other.strip() if _names(line) else line == other


def no_repeats(text: str, place: Place) -> str:
    lines = text.split("\n")
    for index in range(MAX_REPEATS, len(lines)):
        window = lines[index - MAX_REPEATS : index + 1]
        if _names(window[0]) and len(set(window)) == 1:
            return "\n".join(lines[: index - MAX_REPEATS + 1])
    return text


def no_loop(text: str, place: Place) -> str:
    """Ends before the model began to say one thing for ever; a table that the file already has may go on."""
    loop = find_loop(text, MIN_LENGTH_CUT_OFF if place.truncated else MIN_LENGTH)
    if loop is None or loop.run in place.prefix or loop.run in place.suffix:
        return text
    return text[: loop.kept]


def no_half_line(text: str, place: Place) -> str:
    """A truncated text of several lines ends at its last whole line."""
    if not place.truncated or "\n" not in text.strip():
        return text
    return text[: text.rstrip().rfind("\n")]


def no_extra_closers(text: str, place: Place) -> str:
    """Ends before a closing bracket that nothing opened, unless its line opens it again (``} else {``)."""
    hole = around(place.prefix, place.suffix, place.language)
    cut = first_extra_closer(text, place.language, hole)
    return text if cut is None else text[:cut]


def first_extra_closer(text: str, language: str, hole: Hole) -> int | None:
    allowed = list(hole.missing)
    stack: list[str] = []
    debts: list[tuple[str, int]] = []
    closed = 0
    for bracket in brackets(text, language, hole.quote):
        if debts and "\n" in text[debts[-1][1] : bracket.at]:
            break
        if bracket.char in OPENERS:
            if debts and not stack and debts[-1][0] == OPENERS[bracket.char]:
                debts.pop()
            else:
                stack.append(bracket.char)
        elif stack:
            if stack.pop() != CLOSERS[bracket.char]:
                return debts[0][1] if debts else bracket.at
        elif hole.open[closed + len(debts) : closed + len(debts) + 1] != bracket.char:
            return debts[0][1] if debts else bracket.at
        elif allowed and allowed[0] == bracket.char:
            allowed.pop(0)
            closed += 1
        elif hole.supplied[len(debts) : len(debts) + 1] == bracket.char:
            debts.append((bracket.char, bracket.at))
        else:
            return debts[0][1] if debts else bracket.at
    return debts[0][1] if debts else None


def no_overlap(text: str, place: Place) -> str:
    """Drops the end of the text that the rest of the cursor's line repeats."""
    rest = place.line_suffix
    stripped = text.rstrip()
    if not rest.strip() or not stripped:
        return text
    for candidate in (rest, rest.lstrip()):
        for length in range(min(len(candidate), len(stripped)), 0, -1):
            if stripped.endswith(candidate[:length]) and _real_overlap(stripped, candidate, length, place):
                return stripped[: len(stripped) - length]
    return text


def _real_overlap(text: str, rest: str, length: int, place: Place) -> bool:
    kept, overlap = text[:-length], rest[:length]
    if _is_word(overlap[0]) and kept and _is_word(kept[-1]):
        return False
    if _is_word(overlap[-1]) and length < len(rest) and _is_word(rest[length]):
        return False
    if length < MIN_WORD_OVERLAP and (overlap.isalnum() or overlap.isspace()):
        return False
    # A closer still in the text is one the hole needs: ``no_extra_closers`` ran before.
    return not unmatched_closers(overlap, place.language)


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def no_trailing_space(text: str, place: Place) -> str:
    """Trailing whitespace stays only where it separates the text from code that follows on the line."""
    rest = place.line_suffix
    stripped = text.rstrip()
    if rest and (_is_word(rest[0]) or rest[0] in "\"'=+-*/%&|<>!") and stripped:
        return stripped + (" " if text[len(stripped) :].startswith(" ") else "")
    return stripped


def no_open_end(text: str, place: Place) -> str:
    """A truncated text ends where the file closes again, not in the middle of a call or an operator."""
    if not (place.truncated or place.closes) or not text.strip():
        return text
    return place.closer.part(text, place.prefix, place.suffix, place.language)


Step = Callable[[str, Place], str]
STEPS: tuple[Step, ...] = (
    unix_newlines,
    no_leading_blank_lines,
    no_half_line,
    no_next_line,
    no_repeats,
    no_loop,
    no_extra_closers,
    no_overlap,
    no_open_end,
    no_next_line,  # again: without a closer too many it may be one
    no_trailing_space,
)
_REASON_WHEN_EMPTIED: dict[Step, Reason] = {
    no_next_line: Reason.DUPLICATE,
    no_extra_closers: Reason.DUPLICATE,
    no_overlap: Reason.DUPLICATE,
    no_loop: Reason.LOOP,
}


def shows_secret(text: str, place: Place) -> bool:
    """Whether the text completes to something of a credential's shape that the user's own file does not hold.

    What a model learned by heart must not be shown as a suggestion; the pieces beside the cursor count, because a key
    may be half typed.
    """
    before, after = place.prefix[-SECRET_EDGE:], place.suffix[:SECRET_EDGE]
    whole = before + text + after
    hidden = redact(whole)
    start, end = len(before), len(before) + len(text)
    for index in range(start, end):
        if hidden[index] != whole[index]:
            return _run_around(whole, hidden, index) not in place.prefix + place.suffix
    return False


def _run_around(whole: str, hidden: str, index: int) -> str:
    """The overwritten characters around ``index``."""
    first = last = index
    while first > 0 and hidden[first - 1] == "*":
        first -= 1
    while last < len(whole) and hidden[last] == "*":
        last += 1
    return whole[first:last]


def postprocess(text: str, place: Place) -> tuple[str, Reason]:
    """The text to show and ``Reason.MODEL``, or '' and why there is nothing to show."""
    for step in STEPS:
        had_text = bool(text.strip())
        text = step(text, place)
        if had_text and not text.strip():
            return "", _REASON_WHEN_EMPTIED.get(step, Reason.EMPTY)
    if not text.strip():
        return "", Reason.EMPTY
    if shows_secret(text, place):
        return "", Reason.SECRET
    return ("", Reason.COPY) if place.copied is not None and place.copied(text) else (text, Reason.MODEL)


def postprocess_all(candidates: Sequence[Candidate], place: Place, max_tokens: int) -> list[str]:
    """What each would add there; one that has all the tokens it may have was cut off."""
    cut_off = replace(place, truncated=True)
    return [postprocess(c.text, cut_off if len(c.token_ids) >= max_tokens else place)[0] for c in candidates]
