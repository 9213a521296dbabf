"""Keys and values of one sequence: rows of a pool, in the order of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from holefill.model.kv.rows import NO_ROWS, Rows, RowTable

if TYPE_CHECKING:
    from holefill.model.kv.pool import TokenPool

Index = slice | Tensor


class KVCache(RowTable):
    """What a forward reads and appends to; see ``RowTable``."""

    pool: TokenPool

    def __init__(self, pool: TokenPool, shared: Rows = NO_ROWS) -> None:
        super().__init__(pool, shared)

    @property
    def keys(self) -> Tensor:
        """[layers, kv_heads, pool rows, head_dim], of all sequences."""
        return self.pool.keys

    @property
    def values(self) -> Tensor:
        return self.pool.values

    def table(self, new: int = 0) -> Tensor:
        """``rows(new)`` as int32 on the CPU."""
        return torch.from_numpy(self.rows(new))

    def index(self, start: int, end: int) -> Index:
        """Where tokens start … end lie, to index keys and values: a slice where they follow each other."""
        rows = self._table[start:end]
        first = int(rows[0]) if len(rows) else 0
        if np.array_equal(rows, np.arange(first, first + len(rows))):
            return slice(first, first + len(rows))
        return torch.from_numpy(rows.astype(np.int64)).to(self.keys.device)
