"""What a forward of n tokens costs on this device, measured, so that drafting stops where it stops paying."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from holefill.model.kv.cache import KVCache

SIZES = (1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 17)
"""Kernels work in tiles of 4 and 8 rows: the step behind a full tile is what the choice of a tree turns on."""
CONTEXT = 512
"""Rows in the cache while forwards are timed: a usual prompt's."""


class Target(Protocol):
    """What ``forward_cost`` needs of ``model.transformer.Transformer``."""

    def new_cache(self, capacity: int) -> KVCache: ...

    def forward(self, ids: torch.Tensor, cache: KVCache, *, logit_rows: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True, slots=True)
class CostCurve:
    """Milliseconds of one forward of n new tokens; linear between the measured sizes and past the last two."""

    sizes: tuple[int, ...]
    ms: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or len(self.sizes) != len(self.ms) or list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError("a cost curve needs at least two increasing sizes, each with a time")

    def __call__(self, tokens: int) -> float:
        right = min(max(bisect_left(self.sizes, tokens), 1), len(self.sizes) - 1)
        x0, x1, y0, y1 = self.sizes[right - 1], self.sizes[right], self.ms[right - 1], self.ms[right]
        return y0 + (y1 - y0) * (tokens - x0) / (x1 - x0)

    @classmethod
    def flat(cls) -> CostCurve:
        """Every forward costs the same: drafts are never cut (tests; a GPU far from its compute limit)."""
        return cls((1, 2), (1.0, 1.0))


def measure_cost(
    forward: Callable[[int], object],
    sizes: Sequence[int] = SIZES,
    *,
    repeats: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> CostCurve:
    """Times ``forward(n)`` (which must return only when the device is done) and keeps the fastest of ``repeats``.

    A larger forward cannot be cheaper: noise that says so is smoothed upwards, or the selection would chase it.
    """
    forward(sizes[0])
    fastest = [float("inf")] * len(sizes)
    for _ in range(repeats):
        for index, size in enumerate(sizes):
            start = clock()
            forward(size)
            fastest[index] = min(fastest[index], clock() - start)
    times: list[float] = []
    for seconds in fastest:
        times.append(max(seconds * 1000, times[-1] if times else 0.0))
    return CostCurve(tuple(sizes), tuple(times))


def forward_cost(target: Target, *, repeats: int = 2, clock: Callable[[], float] = time.perf_counter) -> CostCurve:
    """t(n) of this model on this device, with logits at all n rows as verification needs them (0.5B: 0.5 s)."""
    cache = target.new_cache(CONTEXT + max(SIZES))
    cache.keys.zero_()
    cache.values.zero_()
    context = min(CONTEXT, cache.max_context - max(SIZES))
    cache.length = context

    def forward(size: int) -> None:
        logits = target.forward(torch.zeros(size, dtype=torch.long), cache, logit_rows=torch.arange(size))
        logits[-1, 0].item()  # waits for the device
        cache.truncate(context)

    return measure_cost(forward, repeats=repeats, clock=clock)
