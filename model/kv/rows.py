"""Rows of keys and values by number: which are free, and which a sequence reads and writes. Knows of no tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from holefill.model.errors import EngineError

Rows = NDArray[np.int32]
NO_ROWS: Rows = np.empty(0, dtype=np.int32)


class RowPool:
    """Rows 0 … capacity - 1; more by doubling, up to ``limit``.

    The lowest free run that is long enough goes first, else the lowest free rows: a sequence's rows mostly follow each
    other, which is faster to read, and memory behind the highest row ever used stays untouched.
    """

    def __init__(self, rows: int, limit: int | None = None, max_context: int | None = None) -> None:
        """``max_context``: the longest sequence, default: ``limit``."""
        self.limit = max(rows, limit or rows)
        self.max_context = max_context or self.limit
        self.free = rows
        self.reclaim: Callable[[int], object] = lambda rows: None
        """Called with the number of rows that are wanting: who can spare some gives them back."""
        self._is_free = np.ones(rows, dtype=np.bool_)

    @property
    def capacity(self) -> int:
        return len(self._is_free)

    def sequence(self, shared: Rows = NO_ROWS) -> RowTable:
        """A sequence whose first rows are these, which it only reads."""
        return RowTable(self, shared)

    def take(self, count: int) -> Rows:
        """Raises EngineError where there is no room, and none can be made."""
        if count > self.free and self.capacity < self.limit:
            self._grow(min(max(self.capacity + count - self.free, 2 * self.capacity), self.limit))
        if count > self.free:
            self.reclaim(count - self.free)
        if count > self.free:
            raise EngineError(
                f"no room for {count} more tokens: {self.free} of the cache's {self.limit} rows are free; "
                "shorten the prompt, or give the engine more memory (--cache-mb)"
            )
        free = np.flatnonzero(self._is_free)
        runs = np.flatnonzero(free[count - 1 :] - free[: len(free) - count + 1] == count - 1) if count else free
        start = int(runs[0]) if len(runs) else 0
        rows: Rows = free[start : start + count].astype(np.int32)
        self._is_free[rows] = False
        self.free -= count
        return rows

    def give(self, rows: Rows) -> None:
        if self._is_free[rows].any():
            raise ValueError("a row was given back twice")
        self._is_free[rows] = True
        self.free += len(rows)

    def _grow(self, capacity: int) -> None:
        self.free += capacity - self.capacity
        self._is_free = np.pad(self._is_free, (0, capacity - self.capacity), constant_values=True)


class RowTable:
    """One sequence: token i lies in row ``rows[i]`` of the pool. Rows reserved behind ``length`` hold nothing yet.

    A forward appends its tokens; the caller then drops what it does not want, by ``truncate`` (rejected tail) or
    ``keep`` (one path of a draft tree). Neither moves a row: dropped ones are the next to be written.
    """

    def __init__(self, pool: RowPool, shared: Rows = NO_ROWS) -> None:
        self.pool = pool
        self.length = self.shared = len(shared)
        self._table = shared

    @property
    def max_context(self) -> int:
        return self.pool.max_context

    @property
    def owned(self) -> int:
        """Rows that are this sequence's alone."""
        return len(self._table) - self.shared

    def rows(self, new: int = 0) -> Rows:
        """Of the tokens there are, and of ``new`` ones behind them (reserved before)."""
        return self._table[: self.length + new]

    def reserve(self, new: int) -> None:
        """Room for ``new`` more tokens. Raises EngineError past the model's context, or where the pool is full."""
        needed = self.length + new
        if needed > self.max_context:
            raise EngineError(f"{needed} tokens exceed the model's context of {self.max_context}; shorten the prompt")
        if needed > len(self._table):
            self._table = np.concatenate((self._table, self.pool.take(needed - len(self._table))))

    def truncate(self, length: int) -> None:
        """Forget token ``length`` and later."""
        if not self.shared <= length <= self.length:
            raise ValueError(f"cannot truncate {self.length} rows, {self.shared} of them shared, to {length}")
        self.length = length

    def keep(self, tokens: Sequence[int]) -> None:
        """Of all tokens keep these (ascending, absolute): one path of a draft tree."""
        kept = np.asarray(tokens, dtype=np.int64)
        ends = kept[[0, -1]] if len(kept) else kept
        if (np.diff(kept) <= 0).any() or (ends < 0).any() or (ends >= self.length).any():
            raise ValueError(f"tokens to keep must ascend below {self.length}")
        if len(kept) < self.shared or (kept[: self.shared] != np.arange(self.shared)).any():
            raise ValueError(f"the first {self.shared} tokens are shared, so they are kept")
        dropped = np.ones(len(self._table), dtype=np.bool_)
        dropped[kept] = False
        self._table = np.concatenate((self._table[kept], np.sort(self._table[dropped])))
        self.length = len(kept)

    def leave(self) -> Rows:
        """All its rows, shared, written and reserved ones, which are the caller's now; the sequence is empty."""
        table, self._table = self._table, NO_ROWS
        self.length = self.shared = 0
        return table
