"""Longest-suffix search against the naive one, over growing and static text."""

from __future__ import annotations

import random
import time

import pytest

from holefill.model.spec.buffer import BufferIndex
from holefill.model.spec.suffix_array import DEPTH, SuffixArray
from holefill.model.spec.suffix_automaton import SuffixAutomaton

QUERIES = 10_000


def occurs(document: list[int], piece: list[int]) -> int:
    return sum(document[i : i + len(piece)] == piece for i in range(len(document) - len(piece) + 1))


def naive_longest(documents: list[list[int]], query: list[int], most: int = 10**9) -> int:
    length = 0
    while length < min(len(query), most) and any(occurs(d, query[len(query) - length - 1 :]) for d in documents):
        length += 1
    return length


def random_documents(rng: random.Random, vocabulary: int) -> list[list[int]]:
    return [[rng.randrange(vocabulary) for _ in range(rng.randrange(1, 30))] for _ in range(rng.randrange(1, 4))]


@pytest.mark.parametrize("kind", ["automaton", "array"])
def test_longest_suffix_equals_naive_search(kind: str) -> None:
    rng = random.Random(1)
    checked = 0
    while checked < QUERIES:
        vocabulary = rng.choice([2, 3, 5, 9])
        documents = random_documents(rng, vocabulary)
        automaton, array = SuffixAutomaton(), SuffixArray(documents)
        for document in documents:
            automaton.extend(document)
            automaton.end_document()
        for _ in range(50):
            query = [rng.randrange(vocabulary) for _ in range(rng.randrange(1, 12))]
            if rng.random() < 0.5:  # a quote, so that long matches occur
                document = rng.choice(documents)
                start = rng.randrange(len(document))
                query += document[start : start + rng.randrange(1, 9)]
            expected = naive_longest(documents, query)
            if kind == "automaton":
                state, length = automaton.longest_suffix(query)
                found = {token for token in automaton.next[state] if token >= 0} if length else set()
            else:
                intervals = array.match(query)
                length = len(intervals)
                positions = array.occurrences(intervals[-1], 1000) if intervals else []
                found = {array.token_at(position) for position in positions} - {-1}
            assert length == min(expected, DEPTH)
            piece = query[len(query) - length :]
            following = {t for t in range(vocabulary) if any(occurs(d, [*piece, t]) for d in documents)}
            assert found == (following if length else set())
            checked += 1


def test_cursor_is_the_longest_earlier_occurrence_and_counts_are_exact() -> None:
    rng = random.Random(2)
    for _ in range(60):
        automaton = SuffixAutomaton()
        finished: list[list[int]] = []
        for document in random_documents(rng, 3):
            automaton.end_document()
            for end in range(1, len(document) + 1):
                automaton.extend(document[end - 1 : end])
                query, earlier = document[:end], [*finished, document[: end - 1]]
                longest = naive_longest(earlier, query)
                assert automaton.match_length == longest
                if longest:
                    seen = [*finished, document[:end]]
                    piece = query[end - longest :]
                    assert automaton.count[automaton.match_state] == sum(occurs(d, piece) for d in seen)
            finished.append(document)


def test_array_counts_occurrences() -> None:
    array = SuffixArray([[1, 2, 1, 2, 3], [2, 1, 2, 4]])
    low, high = array.match([9, 1, 2])[1]
    assert high - low == 3
    assert sorted(array.token_at(p) for p in array.occurrences((low, high), 10)) == [1, 3, 4]
    assert len(array.occurrences((low, high), 2)) == 2
    assert array.match([7]) == []


def test_extension_is_linear() -> None:
    """Operations, not seconds: states grow at most twice as fast as the text, on the worst texts too."""
    for text in ([0, 1] * 4000, [0] * 8000, [random.Random(3).randrange(50) for _ in range(8000)]):
        automaton = SuffixAutomaton()
        automaton.extend(text)
        assert len(automaton.link) <= 2 * len(text)
        assert sum(len(following) for following in automaton.next) <= 3 * len(text)


def test_extension_time_per_token_does_not_grow() -> None:
    rng = random.Random(4)
    text = [rng.randrange(300) for _ in range(40_000)]
    automaton = SuffixAutomaton()
    times = []
    for start in range(0, len(text), 10_000):
        begin = time.thread_time()
        automaton.extend(text[start : start + 10_000])
        times.append(time.thread_time() - begin)
    assert times[-1] < 5 * times[0] + 0.05  # quadratic growth would be far more


def test_a_keystroke_feeds_only_what_changed() -> None:
    rng = random.Random(5)
    before = [rng.randrange(500) for _ in range(1000)]
    suffix = [rng.randrange(500) for _ in range(64)]
    index = BufferIndex()
    index.begin(before, [suffix])
    index.commit([7, 8, 9])
    fed = index.automaton.tokens
    new = index.begin([*before, 7], [suffix])
    assert index.automaton.tokens - fed <= 40
    assert new == [[before[-1], 7]]
    assert index.automaton.match_length >= 32  # the same place: what was written there last time is the best draft
    assert 8 in index.automaton.next[index.automaton.match_state]
