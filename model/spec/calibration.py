"""How often a guess is right: online Beta counts per kind of evidence, so that p_accept means what it says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

PRIOR_WEIGHT = 4.0
"""Observations the prior is worth."""
FORGET_ABOVE = 1024.0
"""Counts are halved here, so that the estimate follows a change of repository or habit."""
BINS = 10
SURE = "forced"
"""Source of nodes beside which nothing is allowed: there is nothing to learn about them."""
FIFTHS = 5
"""Steps in which every source's estimate is told apart in the last stage."""


class Evidence(NamedTuple):
    """What one drafter says about one node."""

    source: str
    match: int
    rank: int
    p: float
    """The drafter's own, uncalibrated probability."""


class Bucket(NamedTuple):
    source: str
    match: int
    rank: int
    p: int


def bucket(evidence: Evidence) -> Bucket:
    """Match lengths 1, 2, 3, 4, 5–6, 7–10, 11+; ranks 0, 1, 2, 3+; tenths of probability."""
    match = evidence.match
    coarse = match if match <= 4 else 5 if match <= 6 else 6 if match <= 10 else 7
    return Bucket(evidence.source, coarse, min(evidence.rank, 3), min(int(evidence.p * BINS), BINS - 1))


def prior(evidence: Evidence) -> float:
    """Before any observation: the drafter's probability, discounted where little context supports it."""
    return evidence.p * evidence.match / (evidence.match + 1.0)


@dataclass(slots=True)
class _Count:
    hits: float = 0.0
    total: float = 0.0

    def mean(self, prior_mean: float) -> float:
        return (self.hits + PRIOR_WEIGHT * prior_mean) / (self.total + PRIOR_WEIGHT)

    def add(self, hit: bool) -> None:
        self.hits += hit
        self.total += 1.0
        if self.total > FORGET_ABOVE:
            self.hits /= 2
            self.total /= 2


@dataclass(slots=True)
class Reliability:
    """Predicted against observed acceptance, in tenths."""

    predicted: list[float] = field(default_factory=lambda: [0.0] * BINS)
    observed: list[int] = field(default_factory=lambda: [0] * BINS)
    total: list[int] = field(default_factory=lambda: [0] * BINS)

    def add(self, p: float, hit: bool) -> None:
        cell = min(int(p * BINS), BINS - 1)
        self.predicted[cell] += p
        self.observed[cell] += hit
        self.total[cell] += 1

    def error(self) -> float:
        """Expected calibration error: |mean predicted − observed share| per cell, weighted by its size."""
        seen = sum(self.total)
        gap = sum(abs(p - o) for p, o in zip(self.predicted, self.observed, strict=True))
        return gap / seen if seen else 0.0


class Calibration:
    """Three stages, each the prior of the next: every drafter's evidence alone; which sources agree, and the highest
    estimate among them; which sources agree, and how sure each of them is.

    Agreement of independent sources is worth more than either, and how much is counted, not assumed.
    """

    def __init__(self) -> None:
        self._single: dict[Bucket, _Count] = {}
        self._joint: dict[tuple[tuple[str, ...], int], _Count] = {}
        self._exact: dict[_Exact, _Count] = {}
        self.reliability = Reliability()
        self.reliability_by_source: dict[str, Reliability] = {}

    def single(self, evidence: Evidence) -> float:
        count = self._single.get(bucket(evidence))
        start = prior(evidence)
        return start if count is None else count.mean(start)

    def estimate(self, evidences: Sequence[Evidence]) -> float:
        """Calibrated p_accept of a node that these drafters propose."""
        if any(evidence.source == SURE for evidence in evidences):
            return 1.0
        singles = [self.single(evidence) for evidence in evidences]
        p = max(singles)
        if (count := self._joint.get(_joint_key(evidences, p))) is not None:
            p = count.mean(p)
        if (count := self._exact.get(_exact_key(evidences, singles))) is not None:
            p = count.mean(p)
        return p

    def record(self, evidences: Sequence[Evidence], hit: bool) -> None:
        """The parent of a node was committed; ``hit``: so was the node."""
        singles = [self.single(evidence) for evidence in evidences]
        self._joint.setdefault(_joint_key(evidences, max(singles)), _Count()).add(hit)
        self._exact.setdefault(_exact_key(evidences, singles), _Count()).add(hit)
        for evidence, single in zip(evidences, singles, strict=True):
            self.reliability_by_source.setdefault(evidence.source, Reliability()).add(single, hit)
            self._single.setdefault(bucket(evidence), _Count()).add(hit)

    def error_by_source(self) -> dict[str, float]:
        return {source: cells.error() for source, cells in sorted(self.reliability_by_source.items())}


_Exact = tuple[tuple[str, int], ...]


def _exact_key(evidences: Iterable[Evidence], singles: Iterable[float]) -> _Exact:
    pairs = zip(evidences, singles, strict=True)
    return tuple(sorted((evidence.source, min(int(p * FIFTHS), FIFTHS - 1)) for evidence, p in pairs))


def _joint_key(evidences: Iterable[Evidence], best: float) -> tuple[tuple[str, ...], int]:
    return tuple(sorted({evidence.source for evidence in evidences})), min(int(best * BINS), BINS - 1)
