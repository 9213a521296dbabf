"""Latency percentiles (nearest rank) and the share answered inside the editor's window."""

from __future__ import annotations

import math
from collections.abc import Sequence

EDITOR_WINDOW_MS = 700.0
"""VS Code drops an inline answer that comes later than about this after the request."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` % of the values do not exceed; ``values`` must not be empty."""
    if not values:
        raise ValueError("no values: a percentile is not defined")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def in_window_share(latencies_ms: Sequence[float], window_ms: float = EDITOR_WINDOW_MS) -> float:
    return sum(latency <= window_ms for latency in latencies_ms) / len(latencies_ms)
