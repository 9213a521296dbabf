"""The prefix cache: what requests computed stays in a radix tree over one pool of rows, the least recently used first
out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np

from holefill.model.kv.radix import Node, RadixTree
from holefill.model.kv.rows import Rows, RowTable

C = TypeVar("C", bound=RowTable)
C_co = TypeVar("C_co", bound=RowTable, covariant=True)
BATCH = 64
"""Rows are evicted by this part of the pool, or every forward of a full one would look for the oldest."""


class Pool(Protocol[C_co]):
    """``model.kv.rows.RowPool``, whose sequences are of one class."""

    reclaim: Callable[[int], object]

    @property
    def capacity(self) -> int: ...

    def sequence(self, shared: Rows) -> C_co: ...

    def give(self, rows: Rows) -> None: ...


class PrefixCache(Generic[C]):
    def __init__(self, pool: Pool[C], suffix_id: int | None = None) -> None:
        """``suffix_id``: see ``RadixTree``."""
        self.pool = pool
        self.tree = RadixTree(suffix_id)
        pool.reclaim = self._reclaim

    def _reclaim(self, missing: int) -> None:
        self.pool.give(self.tree.evict(max(missing, self.pool.capacity // BATCH)))


class Running(Generic[C]):
    """The sequence of one request while it is computed: ``ids[i]`` is token i of ``cache``.

    Only ids of whole forwards, whose drafts are dropped, belong here: they are what the tree gets. ``cache`` may hold
    more.
    """

    def __init__(self, prefixes: PrefixCache[C]) -> None:
        self._prefixes = prefixes
        self._node: Node | None = None
        self._cache: C | None = None
        self.ids: list[int] = []

    @property
    def cache(self) -> C:
        assert self._cache is not None, "start() comes first"
        return self._cache

    def start(self, ids: Sequence[int]) -> None:
        """Begin with what is known of ``ids``: at most all but the last, whose logits are wanted."""
        self.stop()
        self._node, rows = self._prefixes.tree.match(ids[:-1])
        self._prefixes.tree.lock(self._node)
        self._cache = self._prefixes.pool.sequence(rows)
        self.ids = list(ids[: len(rows)])

    def pending(self, ids: list[int]) -> list[int]:
        """What the rows of whole forwards lack of ``ids``, but for the last."""
        return ids[len(self.ids) : -1]

    def stop(self) -> None:
        """Leave everything computed to others; does nothing when stopped."""
        if self._cache is None or self._node is None:
            return
        tree, rows, known = self._prefixes.tree, self._cache.leave(), len(self.ids)
        spare = tree.insert(self.ids, rows[:known])
        tree.unlock(self._node)
        self._prefixes.pool.give(np.concatenate((spare, rows[known:])))
        self._cache = self._node = None
