"""The radix tree against the plainest model of one: a table of every prefix inserted, and the row of its last token."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.model.kv.prefix import PrefixCache, Running
from holefill.model.kv.radix import GRACE, Node, RadixTree
from holefill.model.kv.rows import RowPool, RowTable

SUFFIX = 9
IDS = st.lists(st.integers(0, 2) | st.just(SUFFIX), max_size=9)


def nodes_of(tree: RadixTree) -> Iterator[Node]:
    nodes = [tree._root]
    while nodes:
        node = nodes.pop()
        nodes += node.children.values()
        yield node


def rows_of(tree: RadixTree) -> list[int]:
    return [row for node in nodes_of(tree) for row in node.rows.tolist()]


def is_sound(tree: RadixTree) -> bool:
    inner = [node for node in nodes_of(tree) if node.parent is not None]
    return (
        tree.held == len(rows_of(tree)) == len(set(rows_of(tree)))
        and all(len(node.ids) == len(node.rows) > 0 for node in inner)
        and all(node.parent is not None and node.parent.children[node.ids[0]] is node for node in inner)
        and all(node.parent is not None and node.locks <= node.parent.locks for node in inner)
        and all(node.fleeting == (SUFFIX in path_ids(node)) for node in inner)
    )


def path_ids(node: Node) -> list[int]:
    return [] if node.parent is None else [*path_ids(node.parent), *node.ids]


@given(inserted=st.lists(IDS, max_size=12), asked=st.lists(IDS, max_size=6))
def test_the_longest_prefix_of_all_that_was_inserted(inserted: list[list[int]], asked: list[list[int]]) -> None:
    tree, known, next_row = RadixTree(SUFFIX), dict[tuple[int, ...], int](), 0
    for ids in inserted:
        rows = np.arange(next_row, next_row + len(ids), dtype=np.int32)
        next_row += len(ids)
        spare = []
        for end in range(1, len(ids) + 1):
            row = int(rows[end - 1])
            if known.setdefault(tuple(ids[:end]), row) != row:
                spare.append(row)
        assert tree.insert(ids, rows).tolist() == spare
        assert is_sound(tree)
    for ids in [*asked, *inserted]:
        lengths = [end for end in range(len(ids) + 1) if end == 0 or tuple(ids[:end]) in known]
        node, rows = tree.match(ids)
        assert rows.tolist() == [known[tuple(ids[:end])] for end in range(1, max(lengths) + 1)]
        assert path_ids(node) == ids[: max(lengths)]
        assert is_sound(tree)


@given(inserted=st.lists(IDS, min_size=1, max_size=12), locked=st.integers(0, 11), counts=st.lists(st.integers(0, 9)))
def test_eviction_frees_what_it_says_and_no_locked_row(
    inserted: list[list[int]], locked: int, counts: list[int]
) -> None:
    tree, next_row = RadixTree(SUFFIX), 0
    for ids in inserted:
        tree.insert(ids, np.arange(next_row, next_row + len(ids), dtype=np.int32))
        next_row += len(ids)
    ids = inserted[locked % len(inserted)]
    node, rows = tree.match(ids)
    tree.lock(node)
    for count in counts:
        before = set(rows_of(tree))
        freed = tree.evict(count).tolist()
        assert len(freed) == min(count, len(before) - len(rows))
        assert set(rows_of(tree)) == before - set(freed)
        assert is_sound(tree)
        assert tree.match(ids)[1].tolist() == rows.tolist()
    tree.unlock(tree.match(ids)[0])
    assert all(node.locks == 0 for node in nodes_of(tree))
    tree.evict(next_row)
    assert rows_of(tree) == []


def prompt(prefix: list[int], key: int) -> list[int]:
    return [*prefix, SUFFIX, 500 + key, 501 + key]


def known(tree: RadixTree, ids: list[int]) -> int:
    """As ``match``, but nobody asked."""
    node, at = tree._root, 0
    while (
        at < len(ids) and (child := node.children.get(ids[at])) is not None and ids[at:][: len(child.ids)] == child.ids
    ):
        node, at = child, at + len(child.ids)
    return at


def test_what_keys_leave_behind_goes_before_another_document() -> None:
    tree, rows = RadixTree(SUFFIX), itertools.count()

    def insert(ids: list[int]) -> None:
        tree.insert(ids, np.array([next(rows) for _ in ids], dtype=np.int32))

    other, mine = list(range(100, 140)), list(range(200, 240))
    insert(prompt(other, 0))
    for key in range(50):
        insert(prompt([*mine, 300 + key], key))
    tree.evict(3 * 51)  # the suffix slots, from the oldest on
    assert known(tree, other) == 40
    assert known(tree, mine) == 40
    assert known(tree, prompt([*mine, 349], 49)) == 41
    for key in range(GRACE):
        insert(prompt([*mine, 400 + key], key))
    tree.evict(3 * (GRACE - 51))  # what was last used within GRACE requests of the other document
    assert known(tree, other) == 40
    tree.evict(3 + 40)
    assert known(tree, other) == 0
    assert known(tree, mine) == 40


def test_the_latest_keys_are_kept() -> None:
    tree = RadixTree(SUFFIX)
    for key in range(4):
        ids = prompt([1, 2, 3], key)
        tree.insert(ids, np.arange(10 * key, 10 * key + len(ids), dtype=np.int32))
    tree.match(prompt([1, 2, 3], 0))
    tree.insert(prompt([1, 2, 3], 0), tree.match(prompt([1, 2, 3], 0))[1])  # an undo
    assert sorted(tree.evict(4).tolist()) == [14, 15, 24, 25]


def test_runs_that_no_branch_divides_become_one_again() -> None:
    tree = RadixTree()
    for tail in range(4, 8):
        tree.insert([1, 2, 3, tail], np.arange(10 * tail, 10 * tail + 4, dtype=np.int32))
    assert len(list(nodes_of(tree))) == 6
    assert tree.evict(3).tolist() == [43, 53, 63]
    assert [node.ids for node in nodes_of(tree)] == [[], [1, 2, 3, 7]]


def run(prefixes: PrefixCache[RowTable], ids: list[int], computed: int | None = None) -> int:
    """As the engine does; returns how many tokens were cached."""
    running: Running[RowTable] = Running(prefixes)
    running.start(ids)
    cached = running.cache.length
    end = len(ids) if computed is None else max(cached, min(computed, len(ids)))
    running.cache.reserve(end - cached)
    running.cache.length = end
    running.ids += ids[cached:end]
    running.stop()
    running.stop()
    return cached


@settings(max_examples=60)
@given(requests=st.lists(st.tuples(IDS.filter(len), st.integers(0, 9)), max_size=20), rows=st.integers(9, 30))
def test_a_small_pool_serves_everything_and_balances(requests: list[tuple[list[int], int]], rows: int) -> None:
    pool = RowPool(rows)
    prefixes = PrefixCache(pool, SUFFIX)
    for ids, computed in requests:
        assert run(prefixes, ids, computed) < len(ids)
        assert sorted(rows_of(prefixes.tree)) == np.flatnonzero(~pool._is_free).tolist()
        assert pool.free + prefixes.tree.held == rows
        assert is_sound(prefixes.tree)
        assert all(node.locks == 0 for node in nodes_of(prefixes.tree))


def test_eviction_never_touches_a_running_sequence() -> None:
    prefixes = PrefixCache(RowPool(24))
    run(prefixes, list(range(12)))
    running: Running[RowTable] = Running(prefixes)
    running.start([*range(8), 77, 78])
    read = running.cache.rows().tolist()
    assert len(read) == 8
    running.cache.reserve(16)
    running.cache.length = 24
    assert running.cache.rows()[:8].tolist() == read
    assert len(set(running.cache.rows().tolist())) == 24, "a row of its own for every token"
    assert prefixes.tree.held == 8


@pytest.mark.parametrize("undo", [1, 5])
def test_what_was_typed_and_taken_back_is_found_again(undo: int) -> None:
    prefixes = PrefixCache(RowPool(200), SUFFIX)
    states = [prompt([*range(100, 120), *range(typed)], 7) for typed in range(8)]
    for ids in states:
        run(prefixes, ids)
    assert run(prefixes, states[-1 - undo]) == len(states[-1 - undo]) - 1


def test_two_documents_share_their_preamble() -> None:
    prefixes = PrefixCache(RowPool(200), SUFFIX)
    preamble = list(range(100, 150))
    assert run(prefixes, prompt([*preamble, 1, 2], 0)) == 0
    assert run(prefixes, prompt([*preamble, 3, 4], 1)) == 50
    assert run(prefixes, prompt([*preamble, 1, 2], 0)) == 54
    assert prefixes.tree.held == 50 + 5 + 5
