"""What every candidate for one hole asks of the text around it, found once."""

from __future__ import annotations

from functools import cached_property

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.types.holes import HoleAt
from holefill.context.types.identifiers import names_outside
from holefill.context.types.pruning import Pruned, pruned
from holefill.context.types.scope import Scope
from holefill.context.types.skeleton import LONG_FOR_REPORTS, Skeleton, skeleton


class HoleFacts:
    """Of the hole's own text, so before any fill."""

    def __init__(self, index: WorkspaceIndex, at: HoleAt) -> None:
        self.at = at
        self.epoch = index.epoch
        self._index = index

    @cached_property
    def scope(self) -> Scope:
        return Scope(self._index, self.at.hole.path, self.at.repair.parsed)

    @cached_property
    def skeleton(self) -> Skeleton:
        return skeleton(self.at)

    @cached_property
    def pruned(self) -> Pruned:
        return pruned(skeleton(self.at, LONG_FOR_REPORTS), self.at)

    @cached_property
    def names(self) -> frozenset[str]:
        """Identifiers of the text, attributes' names apart."""
        return names_outside(self.at.repair.parsed, self.at.node.start_byte, self.at.node.end_byte)
