"""BM25 over the definitions of a workspace, keyed by the words inside identifiers.

Okapi BM25 (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75). A chunk is one definition of at most ``_MAX_LINES`` lines.
"""

from __future__ import annotations

import heapq
import math
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from holefill.context.index.records import FileRecord
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.syntax.parsing import encode

_K1, _B = 1.2, 0.75
_MAX_LINES = 40
_MIN_TERMS = 4
_QUERY_TERMS = 32
_COMMON_SHARE = 0.3
"""Terms in more chunks than this tell nothing and cost the most."""
_WORTH_A_LOOK = 4
"""Scoring one chunk costs about so many looks at a score."""
_IDENTIFIER = re.compile(r"[^\W\d]\w+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|\d+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Offsets are bytes of the file's text."""

    path: str
    name: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    chunk: Chunk
    score: float


@dataclass(frozen=True, slots=True)
class _File:
    digest: str
    chunks: tuple[int, ...]


def split_identifiers(text: str) -> Iterator[str]:
    """Lower-case words of each identifier: ``parseHTTPResponse_v2`` → parse, http, response, v, 2."""
    for identifier in _IDENTIFIER.findall(text):
        for part in _PARTS.findall(identifier):
            if len(part) > 1:
                yield part.lower()


class LexicalIndex:
    """Kept in step with a WorkspaceIndex by ``sync``; searching never waits for it to finish."""

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index
        self._lock = threading.RLock()
        self._syncing = threading.Lock()
        self._synced = (-1, "")
        self._files: dict[str, _File] = {}
        self._chunks: dict[int, Chunk] = {}
        self._terms: dict[int, Counter[str]] = {}
        self._lengths: dict[int, int] = {}
        self._postings: dict[str, dict[int, int]] = {}
        self._total_length = 0
        self._next_id = 0

    def current(self, without: str = "") -> bool:
        return self._synced == (self._index.epoch, without)

    def sync(self, without: str = "") -> None:
        """Take over what changed; returns at once when another thread is doing it.

        ``without`` stays as it was: the file one is typing in changes with every key and is not searched from there.
        """
        if not self._syncing.acquire(blocking=False):
            return
        try:
            epoch = self._index.epoch
            paths = self._index.paths()
            for gone in set(self._files).difference(paths):
                self._forget(gone)
            for path in paths:
                record = self._index.record(path)
                known = self._files.get(path)
                if path == without and known is not None:
                    continue
                if record is not None and record.symbols and (known is None or known.digest != record.digest):
                    self._learn(record)
            self._synced = (epoch, without)
        finally:
            self._syncing.release()

    def search(self, query: str, limit: int, without: str = "") -> list[Hit]:
        """The best chunks for a piece of code, those of the file ``without`` left out."""
        with self._lock:
            count = len(self._chunks)
            if not count:
                return []
            scores = self._candidates(self._weighted(query, count), limit, self._total_length / count, without)
            best = heapq.nlargest(limit, ((score, chunk) for chunk, score in scores.items()))
            return [Hit(self._chunks[chunk], score) for score, chunk in best]

    def _candidates(
        self, weighted: list[tuple[str, float]], limit: int, average: float, without: str
    ) -> dict[int, float]:
        """Scores of all chunks that can be among the best, rarest terms first (MaxScore: Turtle and Flood 1995).

        As soon as what is left cannot lift an unseen chunk over the ``limit``-th best, only seen ones are scored on.
        """
        own = self._files.get(without)
        skipped = frozenset(() if own is None else own.chunks)
        lengths, flat, slope = self._lengths, _K1 * (1 - _B), _K1 * _B / average
        scores: dict[int, float] = {}
        left, least = sum(weight for _, weight in weighted) * (_K1 + 1), 0.0
        for term, weight in weighted:
            gain = weight * (_K1 + 1)
            postings = self._postings[term]
            if limit <= len(scores) < _WORTH_A_LOOK * len(postings):
                least = heapq.nlargest(limit, scores.values())[-1]
            if left < least:
                # Nothing new can come in, and what is too far behind cannot come back.
                scores = {chunk: score for chunk, score in scores.items() if score + left >= least}
                for chunk in scores.keys() & postings.keys() if len(scores) > len(postings) else scores:
                    frequency = postings.get(chunk, 0)
                    if frequency:
                        scores[chunk] += gain * frequency / (frequency + flat + slope * lengths[chunk])
            else:
                for chunk, frequency in postings.items():
                    if chunk not in skipped:
                        gained = gain * frequency / (frequency + flat + slope * lengths[chunk])
                        scores[chunk] = scores.get(chunk, 0.0) + gained
            left -= gain
        return scores

    def _weighted(self, query: str, count: int) -> list[tuple[str, float]]:
        weights = []
        for term in set(split_identifiers(query)):
            frequency = len(self._postings.get(term, ()))
            if 0 < frequency <= max(8, _COMMON_SHARE * count):
                weights.append((term, math.log(1 + (count - frequency + 0.5) / (frequency + 0.5))))
        return sorted(weights, key=lambda pair: (-pair[1], pair[0]))[:_QUERY_TERMS]

    def _learn(self, record: FileRecord) -> None:
        text = self._index.text(record.path)
        known = self._files.get(record.path)
        before = {} if known is None else {self._chunks[one].text: self._terms[one] for one in known.chunks}
        read = [
            (chunk, before.get(chunk.text) or Counter(split_identifiers(chunk.text)))
            for chunk in (() if text is None else _chunks(record, encode(text)))
        ]
        with self._lock:  # a search waits for no more than this
            self._forget(record.path)
            ids = tuple(self._add(chunk, terms) for chunk, terms in read if len(terms) >= _MIN_TERMS)
            self._files[record.path] = _File(record.digest, ids)

    def _add(self, chunk: Chunk, terms: Counter[str]) -> int:
        number, self._next_id = self._next_id, self._next_id + 1
        self._chunks[number], self._terms[number] = chunk, terms
        self._lengths[number] = sum(terms.values())
        self._total_length += self._lengths[number]
        for term, frequency in terms.items():
            self._postings.setdefault(term, {})[number] = frequency
        return number

    def _forget(self, path: str) -> None:
        with self._lock:
            known = self._files.pop(path, None)
            for number in known.chunks if known is not None else ():
                for term in self._terms.pop(number):
                    self._postings[term].pop(number)
                    if not self._postings[term]:
                        del self._postings[term]
                self._total_length -= self._lengths.pop(number)
                del self._chunks[number]


def _chunks(record: FileRecord, source: bytes) -> Iterator[Chunk]:
    """One per function, method or small class; long ones keep their first lines."""
    for symbol in record.symbols:
        if symbol.kind not in ("function", "method", "class", "interface", "enum", "type"):
            continue
        line_start = source.rfind(b"\n", 0, symbol.start) + 1
        lines = source[line_start : symbol.end].split(b"\n")
        is_container = symbol.kind in ("class", "interface", "enum")
        if is_container and len(lines) > _MAX_LINES:
            continue  # its methods are chunks of their own
        kept = b"\n".join(lines[:_MAX_LINES])
        yield Chunk(record.path, symbol.qualified, line_start, line_start + len(kept), kept.decode("utf-8", "replace"))
