"""What a request's guide leaves no choice about (XGrammar's jump forward, PAPERS.md 3.1), as a chain.

The guide knows (``constrain.guide.Guide.forced``); a token that its mask allows alone has p = 1, and one that spells a
name of which only the letters are certain has the probability that such spellings turn out to have.
"""

from __future__ import annotations

from collections.abc import Sequence

from holefill.model.spec.calibration import SURE
from holefill.model.spec.drafters.drafter import DraftContext, Scope, TopTokens
from holefill.model.spec.tree import DraftTree, TreeBuilder

SPELLED = "forced.spelling"
WITHIN, LAST = 10, 6
"""Match lengths, which are what evidence weighs before it is counted: the last token of a name may also be one that
goes beyond it (spellings were right 15 times of 17, LOG.md)."""


class ForcedDrafter:
    name = "forced"

    def propose(self, context: DraftContext, budget: int, max_depth: int) -> list[DraftTree]:
        builder = TreeBuilder(context.root)
        node = 0
        chain = context.forced[: min(budget, max_depth)]
        for at, forced in enumerate(chain):
            source = SURE if forced.only else SPELLED
            node = builder.add(node, forced.token, 1.0, source, LAST if at == len(chain) - 1 else WITHIN)
        return [builder.tree()] if chain else []

    def learn_text(self, tokens: Sequence[int]) -> None:
        """The guide knows all there is."""

    def learn_top(self, top: TopTokens) -> None:
        """The guide knows all there is."""

    def observe(self, context: DraftContext, top: TopTokens) -> None:
        """The guide knows all there is."""

    def reset(self, scope: Scope) -> None:
        """Holds nothing."""
