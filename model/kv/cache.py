"""Keys and values of one sequence: rows 0 … length - 1, for every layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from holefill.model.config import ModelConfig
from holefill.model.errors import EngineError


class KVCache:
    """Preallocated [layer, kv_head, capacity, head_dim]; grows by doubling up to the model's context.

    Rows past ``length`` are garbage. A forward appends its rows; the caller then drops what it does not want, by
    ``truncate`` (rejected tail) or ``keep`` (one path of a draft tree).
    """

    def __init__(
        self,
        config: ModelConfig,
        capacity: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.max_context = config.max_context
        self.length = 0
        rows = max(1, min(capacity, config.max_context))
        shape = (config.layers, config.kv_heads, rows, config.head_dim)
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)

    @property
    def capacity(self) -> int:
        return self.keys.shape[2]

    def reserve(self, rows: int) -> None:
        """Make room for ``rows`` more. Raises EngineError when the model's context would be exceeded."""
        needed = self.length + rows
        if needed <= self.capacity:
            return
        if needed > self.max_context:
            raise EngineError(f"{needed} tokens exceed the model's context of {self.max_context}; shorten the prompt")
        capacity = min(max(needed, 2 * self.capacity), self.max_context)
        self.keys, self.values = self._grown(self.keys, capacity), self._grown(self.values, capacity)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store [kv_head, n, head_dim] at rows length … length + n (reserved before); returns all rows up to there.

        ``length`` does not move: the forward advances it once, after its last layer.
        """
        end = self.length + keys.shape[1]
        self.keys[layer, :, self.length : end] = keys
        self.values[layer, :, self.length : end] = values
        return self.keys[layer, :, :end], self.values[layer, :, :end]

    def truncate(self, length: int) -> None:
        """Forget rows ``length`` and later."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot truncate {self.length} rows to {length}")
        self.length = length

    @torch.inference_mode()  # buffers that grew inside a forward are inference tensors
    def keep(self, rows: Sequence[int]) -> None:
        """Of all rows keep these (ascending, absolute), moved together in place: one path of a draft tree.

        The unmoved start of ``rows`` (0, 1, 2, …) costs nothing; rows behind it are copied.
        """
        stay = next((index for index, row in enumerate(rows) if row != index), len(rows))
        moved = list(rows[stay:])
        if moved and (moved[0] < stay or moved[-1] >= self.length or any(a >= b for a, b in pairwise(moved))):
            raise ValueError(f"rows to keep must ascend below {self.length}")
        if stay > self.length:
            raise ValueError(f"cannot keep {stay} of {self.length} rows")
        if moved:
            index = torch.tensor(moved, device=self.keys.device)
            for buffer in (self.keys, self.values):  # the right side is a copy, so overlapping is safe
                buffer[:, :, stay : len(rows)] = buffer.index_select(2, index)
        self.length = len(rows)

    def _grown(self, old: Tensor, capacity: int) -> Tensor:
        new = old.new_empty((old.shape[0], old.shape[1], capacity, old.shape[3]))
        new[:, :, : self.length] = old[:, :, : self.length]
        return new
