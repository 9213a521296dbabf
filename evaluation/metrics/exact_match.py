"""Exact match as CrossCodeEval counts it: equal lists of stripped, non-blank lines."""

from __future__ import annotations


def code_lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def exact_match(prediction: str, target: str) -> bool:
    return code_lines(prediction) == code_lines(target)
