"""Retrieval measured on token spans (chunking_evaluation's definitions, without its quirks).

With the excerpt tokens t_e (what the answer needs) and the retrieved tokens t_r:
recall |t_e∩t_r| / |t_e|, precision |t_e∩t_r| / |t_r|, IoU |t_e∩t_r| / |t_e∪t_r|. Both sides are sets, so overlapping
chunks count once; spans are half open, so touching is not overlapping. Precision-Ω is the precision when every chunk
that touches an excerpt is retrieved: the bound that the chunking itself sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class TokenSpan:
    """Tokens ``start`` to ``end`` (half open) of one document."""

    start: int
    end: int
    document: str = ""


@dataclass(frozen=True, slots=True)
class RetrievalScore:
    recall: float
    precision: float
    iou: float


def _tokens(spans: Iterable[TokenSpan]) -> set[tuple[str, int]]:
    return {(span.document, position) for span in spans for position in range(span.start, span.end)}


def retrieval_score(excerpts: Sequence[TokenSpan], retrieved: Sequence[TokenSpan]) -> RetrievalScore:
    """Empty retrieval scores 0 everywhere; ``excerpts`` must not be empty."""
    wanted, found = _tokens(excerpts), _tokens(retrieved)
    if not wanted:
        raise ValueError("no excerpt tokens: recall is not defined")
    hits = len(wanted & found)
    return RetrievalScore(hits / len(wanted), hits / len(found) if found else 0.0, hits / len(wanted | found))


def precision_omega(excerpts: Sequence[TokenSpan], chunks: Sequence[TokenSpan]) -> float:
    wanted = _tokens(excerpts)
    touching = [chunk for chunk in chunks if wanted & _tokens([chunk])]
    return retrieval_score(excerpts, touching).precision
