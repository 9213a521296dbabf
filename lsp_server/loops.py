"""Answers that fell into a loop: a text whose end says one short thing again and again."""

from __future__ import annotations

from dataclasses import dataclass

MAX_UNIT = 40
"""Characters of what is repeated."""
MIN_REPEATS = 8
MIN_LENGTH = 60
"""Characters of all repetitions together."""
MIN_LENGTH_CUT_OFF = 32
"""The same for an answer that did not end by itself, as no loop does: a deadline may leave no more than that."""


@dataclass(frozen=True, slots=True)
class Loop:
    run: str
    """As many repetitions as it takes to be called a loop."""
    kept: int
    """Length of the text in whole lines without the loop; of a loop of lines the first round stays."""


def find_loop(text: str, min_length: int = MIN_LENGTH) -> Loop | None:
    """The loop that ``text`` ends in.

    A unit without a letter or digit is a ruler (``# -----``), not a loop. A text without a loop costs one comparison
    for each length of a unit; the loop itself is walked once.
    """
    said = text.rstrip()
    for length in range(1, min(MAX_UNIT, len(said) // MIN_REPEATS) + 1):
        unit = said[-length:]
        run = unit * max(MIN_REPEATS, -(-min_length // length))
        if said.endswith(run):
            has_name = any(char.isalnum() for char in unit)
            return Loop(run, _whole_lines(said, _start(said, len(run), length), unit)) if has_name else None
    return None


def _start(said: str, run: int, length: int) -> int:
    """Where the repetitions of ``length`` characters begin that end ``said`` and are at least ``run`` characters."""
    at = len(said) - run
    while at > 0 and said[at - 1] == said[at - 1 + length]:
        at -= 1
    return at


def _whole_lines(said: str, start: int, unit: str) -> int:
    if "\n" in unit and start > 0:  # the end of the line before may look like the unit's
        return said.index("\n", start) + len(unit)
    return max(0, said.rfind("\n", 0, start + len(unit)))
