"""ROUGE-L: F-measure of the longest common subsequence of tokens (CodeFill reports it for n tokens)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TOKEN = re.compile(r"\w+|[^\w\s]")


def code_tokens(code: str) -> list[str]:
    return _TOKEN.findall(code)


def lcs_length(left: Sequence[str], right: Sequence[str]) -> int:
    previous = [0] * (len(right) + 1)
    for token in left:
        row = [0]
        for column, other in enumerate(right):
            row.append(previous[column] + 1 if token == other else max(previous[column + 1], row[-1]))
        previous = row
    return previous[-1]


def rouge_l(prediction: str, target: str) -> float:
    """0–1 over word and punctuation tokens; two empty texts are equal."""
    mine, gold = code_tokens(prediction), code_tokens(target)
    if not mine and not gold:
        return 1.0
    common = lcs_length(mine, gold)
    return 2 * common / (len(mine) + len(gold))
