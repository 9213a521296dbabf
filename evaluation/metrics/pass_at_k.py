"""pass@k, the unbiased estimator of the HumanEval paper: 1 − C(n−c, k) / C(n, k)."""

from __future__ import annotations

from math import comb


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Chance that one of ``k`` samples drawn from ``samples`` passes, of which ``correct`` do."""
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} is not defined for {correct} correct of {samples} samples")
    return 1 - comb(samples - correct, k) / comb(samples, k)
