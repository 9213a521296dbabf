"""Percentile bootstrap, seeded: intervals of a mean and of a paired difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_BLOCK = 500
"""Resamples drawn at once: bounds the memory to a few megabytes at n = 600."""


@dataclass(frozen=True, slots=True)
class Interval:
    mean: float
    low: float
    high: float

    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """B − A on the same cases; ``gained`` and ``lost`` count the cases where B is above and below A."""

    n: int
    a: float
    b: float
    difference: Interval
    gained: int
    lost: int


def mean_interval(values: Sequence[float], *, seed: int = 0, confidence: float = 0.95) -> Interval:
    """``values`` must not be empty."""
    if not values:
        raise ValueError("no values: an interval is not defined")
    data = np.asarray(values, dtype=np.float64)
    tail = (1 - confidence) / 2 * 100
    low, high = np.percentile(_resampled_means(data, seed), [tail, 100 - tail])
    return Interval(float(data.mean()), float(low), float(high))


def paired_difference(
    a: Sequence[float], b: Sequence[float], *, seed: int = 0, confidence: float = 0.95
) -> PairedDifference:
    """``a[i]`` and ``b[i]`` belong to one case."""
    if len(a) != len(b):
        raise ValueError(f"not paired: {len(a)} and {len(b)} values")
    differences = [right - left for left, right in zip(a, b, strict=True)]
    return PairedDifference(
        n=len(a),
        a=float(np.mean(a)),
        b=float(np.mean(b)),
        difference=mean_interval(differences, seed=seed, confidence=confidence),
        gained=sum(d > 0 for d in differences),
        lost=sum(d < 0 for d in differences),
    )


def _resampled_means(data: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    blocks = []
    for start in range(0, RESAMPLES, _BLOCK):
        rows = min(_BLOCK, RESAMPLES - start)
        blocks.append(data[generator.integers(0, len(data), size=(rows, len(data)))].mean(axis=1))
    return np.concatenate(blocks)
