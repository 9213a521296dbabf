"""What a forward of n tokens costs on this device, measured, so that drafting stops where it stops paying."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from holefill.model.kv.cache import KVCache

SIZES = (1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 17)
"""Kernels work in tiles of 4 and 8 rows: the step behind a full tile is what the choice of a tree turns on."""
ONCE_ABOVE = 9
"""Larger trees are rare on a CPU; their noise decides little."""
LARGEST = 64
"""Trees up to this size are cut short where nothing pays any more."""
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
    _cheapest: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or len(self.sizes) != len(self.ms) or list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError("a cost curve needs at least two increasing sizes, each with a time")
        whole = [self(tokens) for tokens in range(2 * LARGEST + 1)]
        rates = [
            min((whole[more] - whole[tokens]) / (more - tokens) for more in range(tokens + 1, len(whole)))
            for tokens in range(LARGEST + 1)
        ]
        object.__setattr__(self, "_cheapest", tuple(rates))

    def __call__(self, tokens: int) -> float:
        right = min(max(bisect_left(self.sizes, tokens), 1), len(self.sizes) - 1)
        x0, x1, y0, y1 = self.sizes[right - 1], self.sizes[right], self.ms[right - 1], self.ms[right]
        return y0 + (y1 - y0) * (tokens - x0) / (x1 - x0)

    def cheapest(self, tokens: int) -> float:
        """Milliseconds per token of the best way to enlarge a forward of ``tokens``; at most what one more costs."""
        return self._cheapest[tokens] if tokens <= LARGEST else 0.0

    @classmethod
    def flat(cls) -> CostCurve:
        """Every forward costs the same: drafts are never cut (tests; a GPU far from its compute limit)."""
        return cls((1, 2), (1.0, 1.0))


def measure_cost(
    forward: Callable[[int], object],
    sizes: Sequence[int] = SIZES,
    *,
    repeats: int = 3,
    once_above: int = ONCE_ABOVE,
    clock: Callable[[], float] = time.perf_counter,
) -> CostCurve:
    """Times ``forward(n)`` (which must return only when the device is done) and keeps the fastest of ``repeats``;
    the dear ones above ``once_above`` are timed once.

    A larger forward cannot be cheaper: noise that says so is smoothed upwards, or the selection would chase it.
    """
    forward(sizes[0])
    fastest = [float("inf")] * len(sizes)
    for run in range(repeats):
        for index, size in enumerate(sizes):
            if run > 0 and size > once_above:
                continue
            start = clock()
            forward(size)
            fastest[index] = min(fastest[index], clock() - start)
    times: list[float] = []
    for seconds in fastest:
        times.append(max(seconds * 1000, times[-1] if times else 0.0))
    return CostCurve(tuple(sizes), tuple(times))


def forward_cost(target: Target, *, repeats: int = 3, clock: Callable[[], float] = time.perf_counter) -> CostCurve:
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
