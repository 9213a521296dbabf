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
PAST = 0.97
"""Weight of the past of ``LiveCost``: the last 30 forwards count."""
PRIOR, RIDGE = 4.0, 0.2
"""Forwards that the measurement is worth, at first and for the slope for ever."""
OUTLIER, BOUND = 2.0, 4.0
"""Largest factor between one forward and its expectation, and between a part of the curve and its measurement."""
CONTEXT = 512
"""Rows in the cache while forwards are timed: a usual prompt's."""


class Cost(Protocol):
    """What ``build.select`` asks; milliseconds."""

    def __call__(self, tokens: int) -> float: ...

    def cheapest(self, tokens: int) -> float: ...


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


class LiveCost:
    """A measured curve, corrected by the forwards that follow it.

    On a shared machine the two things a forward waits for, reading the weights and computing rows, change by the minute
    and apart from each other (0.5B, 2 threads: t(1) 5.3 or 8.0 ms, t(8) 12.2 or 10.3). So a · c(1) + b · (c(n) − c(1))
    is fitted by least squares, what is past weighing less and less; before there is anything to fit, a = b = 1.
    """

    def __init__(self, measured: CostCurve) -> None:
        self._measured = measured
        self._base = measured(1)
        self._a = self._b = 1.0
        start = PRIOR * self._base**2  # the measurement counts as so many forwards, for either part
        self._xx = [start, 0.0, start]
        self._xy = [start, start]

    def __call__(self, tokens: int) -> float:
        return self._a * self._base + self._b * (self._measured(tokens) - self._base)

    def cheapest(self, tokens: int) -> float:
        """As of ``CostCurve``."""
        return self._b * self._measured.cheapest(tokens)

    def observe(self, tokens: int, ms: float) -> None:
        """A forward of ``tokens`` took ``ms``; one that waited for something else is not taken at its word."""
        expected = self(tokens)
        ms = min(max(ms, expected / OUTLIER), expected * OUTLIER)
        x, z = self._base, self._measured(tokens) - self._base
        self._xx = [PAST * old + new for old, new in zip(self._xx, (x * x, x * z, z * z), strict=True)]
        self._xy = [PAST * old + new for old, new in zip(self._xy, (x * ms, z * ms), strict=True)]
        (xx, xz, zz), (xy, zy) = self._xx, self._xy
        zz, zy = zz + RIDGE * x * x, zy + RIDGE * x * x  # while every forward is of one size, b stays near 1
        determinant = xx * zz - xz * xz
        self._a = min(max((xy * zz - zy * xz) / determinant, 1 / BOUND), BOUND)
        self._b = min(max((zy * xx - xy * xz) / determinant, 1 / BOUND), BOUND)


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
