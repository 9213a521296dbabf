"""Did the context hold what the answer needs? Retrieval on token spans (PAPERS §2.8), from ``Item.spans``.

Excerpts are the definitions, in other files, of the names the answer uses from there; chunks are the definitions of
the files they stand in, since that is what our providers offer whole. Tokens are words and punctuation marks.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import Item
from holefill.evaluation.cases import Case
from holefill.evaluation.metrics.identifiers import identifiers
from holefill.evaluation.metrics.retrieval import TokenSpan, precision_omega, retrieval_score

_TOKEN = re.compile(rb"\w+|[^\w\s]")
_MIN_NAME = 3


def retrieval_scores(case: Case, index: WorkspaceIndex, items: Sequence[Item]) -> dict[str, float]:
    """0–100; empty where the answer needs nothing from another file."""
    tokens = _Tokens(index)
    excerpts = [span for name in _names(case, index) for span in _defined(name, case, index, tokens)]
    if not any(span.end > span.start for span in excerpts):
        return {}
    retrieved = [tokens.span(span.path, span.start, span.end) for item in items for span in item.spans]
    score = retrieval_score(excerpts, retrieved)
    chunks = list(_chunks({span.document for span in excerpts}, index, tokens))
    return {
        "recall": 100 * score.recall,
        "precision": 100 * score.precision,
        "iou": 100 * score.iou,
        "precision_omega": 100 * precision_omega(excerpts, chunks),
    }


def _names(case: Case, index: WorkspaceIndex) -> Sequence[str]:
    """The benchmark's own list, or the answer's names that other files define and this one does not."""
    if case.cross_names:
        return case.cross_names
    used = dict.fromkeys(name for name in identifiers(case.target, case.language) if len(name) >= _MIN_NAME)
    return [name for name in used if all(found.path != case.path for found in index.find(name))]


def _defined(name: str, case: Case, index: WorkspaceIndex, tokens: _Tokens) -> Iterable[TokenSpan]:
    for found in index.find(name):
        if found.path != case.path and found.symbol is not None:
            yield tokens.span(found.path, found.symbol.start, found.symbol.end)


def _chunks(paths: set[str], index: WorkspaceIndex, tokens: _Tokens) -> Iterable[TokenSpan]:
    for path in sorted(paths):
        record = index.record(path)
        for symbol in record.symbols if record is not None else ():
            yield tokens.span(path, symbol.start, symbol.end)


class _Tokens:
    """Byte ranges of workspace files as ranges of their tokens."""

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index
        self._starts: dict[str, list[int]] = {}

    def span(self, path: str, start: int, end: int) -> TokenSpan:
        """Tokens that begin in the byte range."""
        if path not in self._starts:
            text = (self._index.text(path) or "").encode("utf-8", "surrogatepass")
            self._starts[path] = [match.start() for match in _TOKEN.finditer(text)]
        starts = self._starts[path]
        return TokenSpan(bisect_left(starts, start), bisect_left(starts, end), path)
