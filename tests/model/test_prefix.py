"""Slots of KV rows: the longest common prefix wins, and documents do not evict each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holefill.model.kv.prefix import PrefixCache, common_prefix


class Rows:
    def __init__(self) -> None:
        self.length = 0

    def truncate(self, length: int) -> None:
        assert length <= self.length
        self.length = length


def fill(cache: PrefixCache[Rows], ids: list[int]) -> int:
    """Compute ``ids``; returns how many rows were reused."""
    slot = cache.take(ids)
    reused = slot.cache.length
    assert slot.ids == ids[:reused]
    slot.ids += ids[reused:]
    slot.cache.length = len(slot.ids)
    return reused


def test_two_documents_typed_in_turn_keep_their_rows() -> None:
    cache = PrefixCache(Rows, slots=2)
    left, right = list(range(100)), list(range(500, 600))
    assert [fill(cache, ids) for ids in (left, right, [*left, 1], [*right, 1])] == [0, 0, 100, 100]


def test_a_shared_preamble_alone_does_not_overwrite_another_document() -> None:
    cache = PrefixCache(Rows, slots=2)
    fill(cache, [*range(20), *range(100, 200)])
    fill(cache, [*range(20), *range(300, 400)])
    assert fill(cache, [*range(20), *range(100, 200), 7]) == 120


def test_typing_near_the_start_of_a_file_stays_in_one_slot() -> None:
    """There the text after the cursor is most of the prompt, and every key changes where it stands."""
    cache = PrefixCache(Rows, slots=2, suffix_id=99)
    other, after = [*range(200, 300), 99, 5], [99, *range(100, 160)]
    fill(cache, other)
    for typed in range(1, 6):
        assert fill(cache, [1, 2, 3, *[4] * typed, *after]) == (0 if typed == 1 else 3 + typed - 1)
    assert fill(cache, other) == len(other) - 1


def test_the_least_recently_used_slot_goes_first() -> None:
    cache = PrefixCache(Rows, slots=2)
    one, two, three = [1] * 50, [2] * 50, [3] * 50
    fill(cache, one)
    fill(cache, two)
    fill(cache, one)
    fill(cache, three)
    assert fill(cache, one) == 49, "the last row is computed again for its logits"
    assert fill(cache, two) == 0


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), max_size=12), st.integers(1, 3))
def test_reuse_is_always_a_true_prefix_short_of_the_last_row(prompts: list[list[int]], slots: int) -> None:
    cache = PrefixCache(Rows, slots=slots)
    for ids in prompts:
        assert fill(cache, ids) < len(ids)


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_prefix(left: list[int], right: list[int]) -> None:
    n = common_prefix(left, right)
    assert left[:n] == right[:n]
    assert n == min(len(left), len(right)) or left[n] != right[n]
