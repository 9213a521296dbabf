"""What differs between two trees of one document, and lists and counts of nodes carried over from one to the next."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes ``start:old_end`` became ``start:new_end``; what lies outside is the same, shifted behind it."""

    start: int
    old_end: int
    new_end: int

    @property
    def shift(self) -> int:
        return self.new_end - self.old_end

    def over(self, start: int, end: int) -> Change:
        """Widened to a range of the new bytes."""
        first, last = min(self.start, start), max(self.new_end, end)
        return Change(first, last - self.shift, last)

    def then(self, later: Change) -> Change:
        """Both as one; ``later`` begins where this one ends."""
        old_end = max(self.old_end, later.old_end - self.shift)
        first = min(self.start, later.start)
        return Change(first, old_end, old_end + self.shift + later.shift)


@dataclass(frozen=True, slots=True)
class Piece(Generic[T]):
    """Something read from one node. ``value`` says nothing of where it stands."""

    start: int
    end: int
    value: T


def touches(start: int, end: int, first: int, last: int) -> bool:
    """Whether two ranges share a byte or a border."""
    return end >= first and start <= last


def carried(old: Sequence[Piece[T]], change: Change, fresh: Sequence[Piece[T]]) -> tuple[Piece[T], ...]:
    """Pieces of the new tree: of the old one those that the change does not touch, and ``fresh``, those it touches.

    All are in order of their starts, longer ones first.
    """
    shift = change.shift
    behind = bisect_right(old, change.old_end, key=lambda piece: piece.start)
    before = [
        piece
        for piece in old[: bisect_left(old, change.start, key=lambda piece: piece.start)]
        if piece.end < change.start
    ]
    after = [Piece(piece.start + shift, piece.end + shift, piece.value) for piece in old[behind:]]
    return tuple(sorted((*before, *fresh, *after), key=lambda piece: (piece.start, -piece.end)))
