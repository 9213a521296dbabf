"""What the user changed last: regions of lines, newest first, as they read now."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

_KEPT = 12
_MARGIN = 2
"""Unchanged lines shown around a change."""
_MERGE_DISTANCE = 8
"""Changes this near to the last one, in lines, are one region growing."""
_MAX_LINES = 30
"""Larger changes are pastes, reformatting or another branch, not what the user is thinking of."""


@dataclass(frozen=True, slots=True)
class Edit:
    path: str
    first_line: int
    text: str


class EditLog:
    """Fed with successive texts of documents."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._edits: deque[Edit] = deque(maxlen=_KEPT)

    def observe(self, path: str, before: str, after: str) -> None:
        old, new = before.split("\n"), after.split("\n")
        first = _common(old, new)
        tail = _common(old[first:][::-1], new[first:][::-1])
        last = len(new) - tail
        if old == new or max(last, len(old) - tail) - first > _MAX_LINES:
            return
        with self._lock:
            if self._edits and self._edits[0].path == path:
                newest = self._edits[0]
                bottom = newest.first_line + newest.text.count("\n") + len(new) - len(old)
                if newest.first_line - _MERGE_DISTANCE <= first <= bottom + _MERGE_DISTANCE:
                    self._edits.popleft()
                    first, last = min(first, newest.first_line), max(last, bottom)
            start, end = max(0, first - _MARGIN), min(len(new), last + _MARGIN)
            self._edits.appendleft(Edit(path, start, "\n".join(new[start : min(end, start + _MAX_LINES)])))

    def newest(self) -> tuple[Edit, ...]:
        with self._lock:
            return tuple(self._edits)


def _common(left: list[str], right: list[str]) -> int:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
