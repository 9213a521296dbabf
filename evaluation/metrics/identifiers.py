"""Identifier match (CrossCodeEval step 5): ID-EM over the lists, ID-F1 over the sets."""

from __future__ import annotations

import re
from collections.abc import Collection

from holefill.evaluation.metrics.keywords import KEYWORDS

_STRING = re.compile(r"\"([^\"\\]*(\\.[^\"\\]*)*)\"|'([^'\\]*(\\.[^'\\]*)*)'")
_WORD = re.compile(r"\w+")
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")


def identifiers(code: str, language: str) -> list[str]:
    """In order of appearance, repeats kept; string literals and the language's keywords are not identifiers."""
    keywords = KEYWORDS.get(language, frozenset())
    words = _WORD.findall(_STRING.sub("", code))
    return [word for word in words if _IDENTIFIER.match(word) and word not in keywords]


def id_exact_match(prediction: str, target: str, language: str) -> bool:
    return identifiers(prediction, language) == identifiers(target, language)


def id_f1(prediction: str, target: str, language: str) -> float:
    """F1 over the two sets, 0–1. Two empty sets count as 0, as in the official script."""
    mine, gold = set(identifiers(prediction, language)), set(identifiers(target, language))
    hits = len(mine & gold)
    total = 2 * hits + len(mine - gold) + len(gold - mine)
    return 2 * hits / total if total else 0.0


def named_share(prediction: str, names: Collection[str], language: str) -> float:
    """Share of ``names`` (not empty) that the prediction uses, 0–1."""
    used = set(identifiers(prediction, language))
    return len(used & set(names)) / len(set(names))
