"""Which KV rows a prompt can reuse: a few caches, each holding one token sequence, chosen by longest common prefix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar


class Cache(Protocol):
    """What this module needs of ``model.kv.cache.KVCache``."""

    @property
    def length(self) -> int: ...

    def truncate(self, length: int) -> None:
        """Forget the rows from ``length`` on."""


C = TypeVar("C", bound=Cache)


class Slot(Generic[C]):
    """One cache and the tokens its rows stand for: row i is ``ids[i]``."""

    def __init__(self, cache: C) -> None:
        self.cache = cache
        self.ids: list[int] = []

    def truncate(self, length: int) -> None:
        self.cache.truncate(length)
        del self.ids[length:]


class PrefixCache(Generic[C]):
    """``slots`` caches, least recently used first out, so that documents edited in turn do not evict each other.

    ``suffix_id`` is the token behind which a prompt holds the text after the cursor: every key changes that part, so
    it tells nothing about which document a prompt is of.
    """

    def __init__(self, new_cache: Callable[[], C], slots: int, suffix_id: int | None = None) -> None:
        self._new_cache = new_cache
        self._limit = slots
        self._suffix_id = suffix_id
        self._slots: list[Slot[C]] = []  # least recently used first

    def take(self, ids: Sequence[int]) -> Slot[C]:
        """The slot to compute ``ids`` in, truncated to what it shares with them (at most all but the last id)."""
        slot = self._choose(ids)
        slot.truncate(min(common_prefix(slot.ids, ids), len(ids) - 1))
        if slot in self._slots:
            self._slots.remove(slot)
        self._slots.append(slot)
        return slot

    def clear(self) -> None:
        self._slots.clear()

    def _choose(self, ids: Sequence[int]) -> Slot[C]:
        best = max(self._slots, key=lambda slot: common_prefix(slot.ids, ids), default=None)
        if best is not None and self._same_document(best.ids, ids):
            return best
        return self._slots[0] if len(self._slots) >= self._limit else Slot(self._new_cache())

    def _same_document(self, held: Sequence[int], ids: Sequence[int]) -> bool:
        """Half of the shorter one: a shared preamble alone must not make one document overwrite another's rows."""
        return 2 * common_prefix(held, ids) >= min(self._before_suffix(held), self._before_suffix(ids))

    def _before_suffix(self, ids: Sequence[int]) -> int:
        at = next((i for i, id_ in enumerate(ids) if id_ == self._suffix_id), 0)
        return at or len(ids)


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Number of leading ids the two share."""
    shortest = min(len(left), len(right))
    return next((i for i, (a, b) in enumerate(islice(zip(left, right, strict=False), shortest)) if a != b), shortest)
