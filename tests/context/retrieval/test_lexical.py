"""The pruned search finds what scoring every chunk by the formula finds."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.retrieval import lexical as module
from holefill.context.retrieval.lexical import LexicalIndex

WORDS = [f"word{'abcdefghijklmnopqrstuvwxyz'[n]}" for n in range(26)]


def plainly(lexical: LexicalIndex, query: str, without: str) -> dict[tuple[str, str], float]:
    """Okapi BM25, term by term and chunk by chunk."""
    count, average = len(lexical._chunks), lexical._total_length / len(lexical._chunks)
    scores: dict[tuple[str, str], float] = {}
    for term, weight in lexical._weighted(query, count):
        found = len(lexical._postings[term])
        assert weight == pytest.approx(math.log(1 + (count - found + 0.5) / (found + 0.5)))
        for chunk, frequency in lexical._postings[term].items():
            place = lexical._chunks[chunk]
            norm = 1.2 * (0.25 + 0.75 * lexical._lengths[chunk] / average)
            gained = weight * frequency * 2.2 / (frequency + norm)
            if place.path != without:
                scores[place.path, place.name] = scores.get((place.path, place.name), 0.0) + gained
    return scores


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("looks", [0, 4, 1000])
def test_pruning_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, looks: int) -> None:
    """``looks``: never prunes, as it comes, at every term."""
    monkeypatch.setattr(module, "_WORTH_A_LOOK", looks)
    draw = random.Random(seed)
    weights = [1 / (1 + n) for n in range(26)]
    for file in range(6):
        bodies = (" + ".join(draw.choices(WORDS, weights, k=draw.randint(4, 40))) for _ in range(12))
        lines = (f"def f{file}_{n}():\n    return {body}\n" for n, body in enumerate(bodies))
        (tmp_path / f"m{file}.py").write_text("\n".join(lines))
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    lexical = LexicalIndex(index)
    lexical.sync()
    for _ in range(6):
        query = " ".join(draw.choices(WORDS, k=12))
        without = draw.choice(("", "m1.py"))
        hits = lexical.search(query, 5, without)
        scores = plainly(lexical, query, without)
        assert [hit.score for hit in hits] == pytest.approx(sorted(scores.values(), reverse=True)[:5])
        assert all(hit.score == pytest.approx(scores[hit.chunk.path, hit.chunk.name]) for hit in hits)
