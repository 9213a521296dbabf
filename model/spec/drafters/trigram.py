"""Trigram table with online reinforcement (ADED, PAPERS.md 2.10), backed off to bigrams, bounded.

The paper searches the table by Monte Carlo; the best-first heap finds the most probable paths exactly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from holefill.model.spec.drafters.drafter import FLOOR, DraftContext, Scope, TopTokens
from holefill.model.spec.tree import DraftTree, Successor, best_first

SUCCESSORS = 12
WINDOW = 16
REINFORCEMENT = 0.04
CAP = 3.0
"""The four numbers of the released ADED code."""
BIGRAM_SHARE = 0.4
"""Weight of the bigram's opinion under the trigram's (as in stupid back-off)."""
MAX_CONTEXTS = 60_000
"""Least recently used contexts go beyond this: under 64 MB, bigrams and trigrams together."""
MAX_WIDTH = 6


class _Table:
    """Context → weights of its successors, in least-recently-used order."""

    def __init__(self, contexts: int) -> None:
        self._contexts = contexts
        self._weights: OrderedDict[int, dict[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._weights)

    def get(self, context: int) -> dict[int, float] | None:
        return self._weights.get(context)

    def add(self, context: int, token: int, weight: float, cap: float) -> None:
        weights = self._weights.setdefault(context, {})
        self._weights.move_to_end(context)
        weights[token] = min(weights.get(token, 0.0) + weight, cap)
        if len(weights) > 2 * SUCCESSORS:  # pruned in batches: a newcomer needs a chance to grow
            kept = sorted(weights.items(), key=lambda item: -item[1])[:SUCCESSORS]
            self._weights[context] = dict(kept)
        if len(self._weights) > self._contexts:
            self._weights.popitem(last=False)

    def clear(self) -> None:
        self._weights.clear()


class TrigramDrafter:
    name = "trigram"

    def __init__(self, vocabulary: int, contexts: int = MAX_CONTEXTS) -> None:
        self._vocabulary = vocabulary
        self._trigrams = _Table(contexts // 2)
        self._bigrams = _Table(contexts // 2)

    def propose(self, context: DraftContext, budget: int, max_depth: int) -> list[DraftTree]:
        if len(context.text) < 2:
            return []
        start = (context.text[-2], context.text[-1])
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
        """Each occurrence counts as one reinforcement window would: 1/12 of the cap is a habit, not a rule."""
        self._reinforce(tokens, REINFORCEMENT * WINDOW / 2)

    def learn_top(self, top: TopTokens) -> None:
        """Learns from text only."""

    def observe(self, context: DraftContext, top: TopTokens) -> None:
        self._reinforce(context.text[-WINDOW:], REINFORCEMENT)

    def reset(self, scope: Scope) -> None:
        self._trigrams.clear()
        self._bigrams.clear()

    def _reinforce(self, tokens: Sequence[int], weight: float) -> None:
        for index in range(1, len(tokens) - 1):
            a, b, c = tokens[index - 1], tokens[index], tokens[index + 1]
            self._trigrams.add(a * self._vocabulary + b, c, weight, CAP)
            self._bigrams.add(b, c, weight, CAP)

    def _successors(self, pair: tuple[int, int]) -> list[Successor[tuple[int, int]]]:
        a, b = pair
        merged: dict[int, Successor[tuple[int, int]]] = {}
        left = 1.0
        for weights, match in ((self._trigrams.get(a * self._vocabulary + b), 2), (self._bigrams.get(b), 1)):
            if not weights:
                continue
            total = sum(weights.values()) + REINFORCEMENT * WINDOW / 2
            for token, weight in weights.items():
                if token not in merged:
                    merged[token] = Successor(token, left * weight / total, match, (b, token))
            left *= BIGRAM_SHARE
        return sorted(merged.values(), key=lambda successor: -successor.p)[:MAX_WIDTH]
