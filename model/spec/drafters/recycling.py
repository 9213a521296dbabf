"""Token Recycling (PAPERS.md 2.9): the target's own runners-up, remembered per token, are the next drafts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holefill.model.spec.drafters.drafter import FLOOR, DraftContext, Scope, TopTokens
from holefill.model.spec.tree import DraftTree, Successor, best_first

WIDTH = 8


class RecyclingDrafter:
    """A matrix of 8 successors of each of the V tokens, with their probabilities: 48 V bytes (7 MB at V = 152 k)."""

    name = "recycling"

    def __init__(self, vocabulary: int) -> None:
        self._ids = np.full((vocabulary, WIDTH), -1, np.int32)
        self._p = np.zeros((vocabulary, WIDTH), np.float16)

    def propose(self, context: DraftContext, budget: int, max_depth: int) -> list[DraftTree]:
        start = context.text[-1] if context.text else context.root
        return [
            best_first(
                context.root,
                start,
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
        """Of duplicated tokens the last wins (numpy's rule for repeated indices), so runs are repeatable."""
        rows = list(top.tokens)
        self._ids[rows] = top.ids
        self._p[rows] = top.p

    def reset(self, scope: Scope) -> None:
        if scope is Scope.EVERYTHING:
            self._ids.fill(-1)

    def _successors(self, token: int) -> list[Successor[int]]:
        return [
            Successor(following, p, 1, following)
            for following, p in zip(self._ids[token].tolist(), self._p[token].tolist(), strict=True)
            if following >= 0
        ]
