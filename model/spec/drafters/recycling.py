"""Token Recycling (PAPERS.md 2.9): the target's own runners-up, remembered per context, are the next drafts.

The paper remembers them per token; what the target said after the same *two* tokens is right more often, so that is
looked up first, with the paper's matrix behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holefill.model.spec.drafters.drafter import FLOOR, DraftContext, Scope, TopTokens
from holefill.model.spec.top import WIDTH
from holefill.model.spec.tree import DraftTree, Successor, best_first

UNKNOWN = -1
MAX_PAIRS = 1 << 16
"""Two-token contexts kept, the oldest replaced first: 48 bytes each, and as much again for finding them."""
SINGLE_SHARE = 0.4
"""Weight of the one-token opinion beside the two-token one, for what the latter does not name."""

Pair = tuple[int, int]


class RecyclingDrafter:
    """A matrix of 8 successors of each of the V tokens, with their probabilities: 48 V bytes (7 MB at V = 152 k)."""

    name = "recycling"

    def __init__(self, vocabulary: int) -> None:
        self._single = _Rows(vocabulary)
        self._double = _Rows(MAX_PAIRS)
        self._rows: dict[Pair, int] = {}
        self._pairs: list[Pair] = []
        """The context of each row of ``_double``."""
        self._oldest = 0

    def propose(self, context: DraftContext, budget: int, max_depth: int) -> list[DraftTree]:
        text = context.text
        last = text[-1] if text else context.root
        before = text[-2] if len(text) > 1 else UNKNOWN
        return [
            best_first(
                context.root,
                (before, last),
                self._successors,
                budget=budget,
                max_depth=max_depth,
                source=self.name,
                floor=FLOOR,
            )
        ]

    def learn_text(self, tokens: Sequence[int]) -> None:
        """Learns from the target's distributions only; text is the other drafters' matter."""

    def observe(self, context: DraftContext, top: TopTokens) -> None:
        """Rejected nodes teach too: what follows a token is worth knowing wherever it was asked."""
        self.learn_top(top)

    def learn_top(self, top: TopTokens) -> None:
        """Of duplicated contexts the last wins (numpy's rule for repeated indices), so runs are repeatable."""
        self._single.put(list(top.tokens), top)
        rows = [self._row(pair) for pair in zip(top.before, top.tokens, strict=True)]
        self._double.put(rows, top)

    def reset(self, scope: Scope) -> None:
        if scope is Scope.EVERYTHING:
            self._single.clear()
            self._double.clear()
            self._rows.clear()
            self._pairs.clear()
            self._oldest = 0

    def _row(self, pair: Pair) -> int:
        """Where the pair is kept from now on."""
        row = self._rows.get(pair)
        if row is None:
            if len(self._pairs) < MAX_PAIRS:
                row = len(self._pairs)
                self._pairs.append(pair)
            else:
                row = self._oldest
                self._oldest = (row + 1) % MAX_PAIRS
                del self._rows[self._pairs[row]]
                self._pairs[row] = pair
            self._rows[pair] = row
        return row

    def _successors(self, pair: Pair) -> list[Successor[Pair]]:
        last = pair[1]
        row = self._rows.get(pair)
        if row is None:
            return [Successor(token, p, 1, (last, token)) for token, p in self._single.get(last)]
        found = {token: Successor(token, p, 2, (last, token)) for token, p in self._double.get(row)}
        for token, p in self._single.get(last):
            if token not in found:
                found[token] = Successor(token, SINGLE_SHARE * p, 1, (last, token))
        return sorted(found.values(), key=lambda successor: -successor.p)


class _Rows:
    def __init__(self, count: int) -> None:
        self._ids = np.full((count, WIDTH), UNKNOWN, np.int32)
        self._p = np.zeros((count, WIDTH), np.float16)

    def put(self, rows: list[int], top: TopTokens) -> None:
        self._ids[rows] = top.ids
        self._p[rows] = top.p

    def get(self, row: int) -> list[tuple[int, float]]:
        """Most likely first; none where nothing was put."""
        pairs = zip(self._ids[row].tolist(), self._p[row].tolist(), strict=True)
        return [(token, p) for token, p in pairs if token != UNKNOWN]

    def clear(self) -> None:
        self._ids.fill(UNKNOWN)
