"""Rows by number: what is taken is nobody else's, runs go first, and a sequence drops without moving."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holefill.model.errors import EngineError
from holefill.model.kv.rows import RowPool


@given(
    rows=st.integers(1, 12),
    more=st.integers(0, 30),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=30),
)
def test_every_row_is_free_or_taken_once(rows: int, more: int, steps: list[tuple[bool, int]]) -> None:
    pool = RowPool(rows, rows + more)
    taken: list[int] = []
    for takes, count in steps:
        if takes and count > rows + more - len(taken):
            with pytest.raises(EngineError, match="--cache-mb"):
                pool.take(count)
        elif takes:
            new = pool.take(count).tolist()
            free = [row for row in range(pool.capacity) if row not in taken]
            runs = [[*range(row, row + count)] for row in free if {*range(row, row + count)} <= {*free}]
            assert new == (runs[0] if runs else free[:count])
            taken += new
        else:
            pool.give(np.array(taken[:count], dtype=np.int32))
            del taken[:count]
        assert pool.free + len(taken) == pool.capacity <= pool.limit == rows + more


def test_a_row_cannot_be_given_back_twice() -> None:
    pool = RowPool(4)
    rows = pool.take(2)
    pool.give(rows)
    with pytest.raises(ValueError, match="twice"):
        pool.give(rows[:1])


def test_who_can_spare_rows_is_asked_before_it_fails() -> None:
    pool = RowPool(4)
    spare = pool.take(3)
    asked: list[int] = []

    def reclaim(count: int) -> None:
        asked.append(count)
        pool.give(spare[:count])

    pool.reclaim = reclaim
    assert pool.take(3).tolist() == [0, 1, 3]
    assert asked == [2]


@given(data=st.data(), shared=st.integers(0, 3), length=st.integers(4, 9), reserved=st.integers(0, 4))
def test_a_path_is_kept_in_place(data: st.DataObject, shared: int, length: int, reserved: int) -> None:
    pool = RowPool(20)
    sequence = pool.sequence(pool.take(shared))
    sequence.reserve(length - shared + reserved)
    sequence.length = length
    before = sequence.rows().tolist()
    path = sorted(data.draw(st.sets(st.integers(shared, length - 1))))
    sequence.keep([*range(shared), *path])
    kept = before[:shared] + [before[token] for token in path]
    assert sequence.rows().tolist() == kept
    assert sequence.owned == length - shared + reserved, "a dropped token's row stays the sequence's"
    sequence.reserve(1)
    assert sequence.rows(1)[-1] not in kept
    assert sorted(sequence.leave().tolist()) == list(range(20 - pool.free))


def test_shared_rows_are_only_read() -> None:
    pool = RowPool(9)
    sequence = pool.sequence(pool.take(4))
    sequence.reserve(2)
    sequence.length = 6
    for nonsense in ([0, 1, 2], [0, 1, 2, 4, 5], [0, 1, 2, 3, 6], [0, 1, 2, 3, 5, 4]):
        with pytest.raises(ValueError, match=r"kept|keep"):
            sequence.keep(nonsense)
    with pytest.raises(ValueError, match="truncate"):
        sequence.truncate(3)
    sequence.truncate(4)
    assert sequence.rows().tolist() == [0, 1, 2, 3]


def test_a_sequence_ends_at_the_models_context() -> None:
    sequence = RowPool(8, 40, max_context=9).sequence()
    sequence.reserve(9)
    sequence.length = 7
    with pytest.raises(EngineError, match="context of 9"):
        sequence.reserve(3)
