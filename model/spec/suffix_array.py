"""Longest-suffix match in text that does not grow: the repository, up to about a million tokens."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from holefill.model.spec.suffix_automaton import SENTINEL

DEPTH = 32
"""Tokens by which suffixes are ordered, hence the longest match reported."""


class SuffixArray:
    """A suffix array of the *reversed* text: a suffix of the context is then a prefix of the query.

    8 bytes per token, where the automaton takes 450. 918 k tokens of four repositories: sorted in 0.5 s, a query takes
    30–60 µs (one Zen 5 core).
    """

    def __init__(self, documents: Sequence[Sequence[int] | npt.NDArray[np.int32]]) -> None:
        parts = [part for document in documents for part in (document, (SENTINEL,))]
        joined = [np.asarray(part, dtype=np.int32) for part in parts]
        self._text = np.concatenate([np.full(1, SENTINEL, np.int32), *joined])[::-1].copy()
        """Reversed; ends in a sentinel, so that no index runs past it before a comparison fails."""
        self._order = _sort_suffixes(self._text, DEPTH)
        self._tokens = self._text.data
        """The same memory; reading one item is three times faster than from the array."""
        self._starts = self._order.data

    def __len__(self) -> int:
        return len(self._text) - 1

    def match(self, context: Sequence[int]) -> list[tuple[int, int]]:
        """Intervals of ``self`` for the suffixes of ``context`` of length 1, 2, …, the longest that occurs."""
        text, order = self._tokens, self._starts
        found: list[tuple[int, int]] = []
        low, high = 0, len(order)
        for depth, token in enumerate(reversed(context[-DEPTH:])):

            def key(index: int, depth: int = depth) -> int:
                # At most `depth` real tokens precede, and the text's last one is a sentinel: the index stays inside.
                return text[order[index] + depth]

            span = range(low, high)
            left, right = bisect_left(span, token, key=key), bisect_right(span, token, key=key)
            if left == right:
                break
            low, high = low + left, low + right
            found.append((low, high))
        return found

    def occurrences(self, interval: tuple[int, int], most: int) -> list[int]:
        """Positions just after each occurrence (evenly thinned to ``most``), as arguments of ``token_at``."""
        low, high = interval
        step = max(1, -(-(high - low) // most))
        return (len(self._text) - self._order[low:high:step]).tolist()  # type: ignore[no-any-return]

    def token_at(self, position: int) -> int:
        """Token of the forward text, ``SENTINEL`` at a document's end."""
        return self._tokens[len(self._tokens) - 1 - position] if position < len(self._tokens) else SENTINEL


def _sort_suffixes(text: npt.NDArray[np.int32], depth: int) -> npt.NDArray[np.int32]:
    """Order of the suffixes of ``text`` by their first ``depth`` tokens (prefix doubling)."""
    size = len(text)
    _, rank = np.unique(text, return_inverse=True)
    rank = rank.astype(np.int64) + 1
    order = np.argsort(rank, kind="stable")
    known = 1
    while known < depth:
        shifted = np.zeros(size, np.int64)
        shifted[:-known] = rank[known:]
        key = rank * (size + 1) + shifted
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        steps = np.concatenate([[1], (ordered[1:] != ordered[:-1]).astype(np.int64)])
        rank[order] = np.cumsum(steps)
        if int(rank[order[-1]]) == size:
            break
        known *= 2
    return order.astype(np.int32)
