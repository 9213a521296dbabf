"""Keys and values of many tokens in one buffer, which sequences share by row."""

from __future__ import annotations

import torch
from torch import Tensor

from holefill.model.config import ModelConfig
from holefill.model.kv.cache import KVCache
from holefill.model.kv.rows import NO_ROWS, RowPool, Rows

PADDING = 1
"""Rows past the capacity, which belong to nobody: recorded forwards write the tokens there that only fill a bucket."""


class TokenPool(RowPool):
    """``keys`` and ``values`` [layers, kv_heads, capacity + PADDING, head_dim]. Memory is touched when a row is first
    written, so on a CPU a large pool costs what is used of it."""

    def __init__(
        self,
        config: ModelConfig,
        rows: int,
        limit: int | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(rows, limit, config.max_context)
        shape = (config.layers, config.kv_heads, rows + PADDING, config.head_dim)
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)

    def sequence(self, shared: Rows = NO_ROWS) -> KVCache:
        return KVCache(self, shared)

    def _grow(self, capacity: int) -> None:
        self.keys, self.values = (self._grown(old, capacity) for old in (self.keys, self.values))
        super()._grow(capacity)

    def _grown(self, old: Tensor, capacity: int) -> Tensor:
        layers, kv_heads, _, head_dim = old.shape
        new = old.new_empty((layers, kv_heads, capacity + PADDING, head_dim))
        new[:, :, : self.capacity] = old[:, :, : self.capacity]
        return new


def row_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
    """Of one token's keys and values in all layers."""
    return 2 * config.layers * config.kv_heads * config.head_dim * dtype.itemsize
