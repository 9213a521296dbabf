"""MRR@k and hits@k of ranked candidates."""

from __future__ import annotations

from collections.abc import Sequence


def reciprocal_rank(candidates: Sequence[str], target: str, k: int = 10) -> float:
    """1 / rank of the target among the first ``k`` candidates; 0 when it is not there. MRR@k is the mean of these."""
    top = list(candidates[:k])
    return at_rank(top.index(target) + 1, k) if target in top else 0.0


def at_rank(rank: int, k: int = 10) -> float:
    """1 / rank, 0 beyond ``k``."""
    return 1 / rank if rank <= k else 0.0


def hit_at(candidates: Sequence[str], target: str, k: int) -> bool:
    return target in candidates[:k]
