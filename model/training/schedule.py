"""Which examples a step sees and how large its step is: functions of the step's number and the seed alone, so that a
resumed run needs no other state."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up, then a cosine to zero at ``steps``."""

    steps: int
    peak: float = 2e-4
    warm_up: int = 10

    def rate(self, step: int) -> float:
        """Of the step with that number, counted from 0."""
        warm_up = min(self.warm_up, max(1, self.steps // 2))
        if step < warm_up:
            return self.peak * (step + 1) / warm_up
        done = (step - warm_up) / max(1, self.steps - warm_up)
        return self.peak * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def batch_at(step: int, examples: int, batch: int, seed: int) -> list[int]:
    """Indices of the step's examples: every epoch is its own shuffle, and no example is left over between epochs."""
    wanted = range(step * batch, (step + 1) * batch)
    orders = {epoch: _order(epoch, examples, seed) for epoch in {index // examples for index in wanted}}
    return [orders[index // examples][index % examples] for index in wanted]


def weighted_draw(weights: Sequence[float], count: int, generator: random.Random) -> list[int]:
    """``count`` different indices in ascending order, drawn one by one with probability ∝ weight among those left
    (Efraimidis and Spirakis 2006)."""
    keys = [-generator.expovariate(1.0) / weight if weight > 0 else -math.inf for weight in weights]
    return sorted(sorted(range(len(keys)), key=lambda index: -keys[index])[:count])


def _order(epoch: int, examples: int, seed: int) -> list[int]:
    order = list(range(examples))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return order
