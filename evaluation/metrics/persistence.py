"""Prefix-kept and persistence: offline stand-ins for "did the user keep it", from what the file became."""

from __future__ import annotations

from itertools import takewhile

from holefill.evaluation.metrics.exact_match import code_lines


def prefix_kept(prediction: str, target: str) -> float:
    """Share of the shown text, from its start, that the user would have kept (0–1); nothing shown, nothing kept."""
    shown = prediction.strip()
    kept = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(shown, target.strip(), strict=False)))
    return kept / len(shown) if shown else 0.0


def persistence(prediction: str, target: str) -> float:
    """Share of the shown non-blank lines that stand in the final text, in any order (0–1)."""
    shown, final = code_lines(prediction), set(code_lines(target))
    return sum(line in final for line in shown) / len(shown) if shown else 0.0
