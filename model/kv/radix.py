"""Which rows hold which tokens: a radix tree over token ids. A path from the root is a sequence that was computed, and
every prefix of it can be read by any other (SGLang's RadixAttention).

What a key leaves behind stays: after an undo its rows are found again, until they are the least recently used.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from holefill.model.kv.rows import NO_ROWS, Rows

GRACE = 1000
"""A prompt's part before the suffix marker is kept as if it had been used this many requests later: what lies behind
the marker is of one state of the text, the part before it is what every next key needs."""


@dataclass(slots=True, eq=False)
class Node:
    """A run of tokens behind its parent's, and their rows."""

    ids: list[int]
    rows: Rows
    parent: Node | None
    fleeting: bool
    """Behind the suffix marker."""
    used: int = 0
    """Request that last came by."""
    locks: int = 0
    """Running sequences that read these rows."""
    children: dict[int, Node] = field(default_factory=dict)
    """By first token."""


class RadixTree:
    """``suffix_id``: the token behind which a prompt holds the text after the cursor."""

    def __init__(self, suffix_id: int | None = None) -> None:
        self._root = Node([], NO_ROWS, None, fleeting=False)
        self._suffix_id = suffix_id
        self._requests = 0
        self.held = 0
        """Rows in all nodes."""

    def match(self, ids: Sequence[int]) -> tuple[Node, Rows]:
        """The longest prefix of ``ids`` that is known: its rows, and the node that ends with it."""
        wanted = list(ids)
        node, at, runs = self._root, 0, []
        while at < len(wanted) and (child := node.children.get(wanted[at])) is not None:
            same = _same(child.ids, wanted, at)
            node = child if same == len(child.ids) else self._split(child, same)
            node.used = self._requests
            runs.append(node.rows)
            at += same
        return node, np.concatenate(runs) if runs else NO_ROWS

    def insert(self, ids: Sequence[int], rows: Rows) -> Rows:
        """From now on the tree holds the rows of ``ids``; returned are those it does not need, as it has the tokens."""
        self._requests += 1
        node, known = self.match(ids)
        at = len(known)
        for end in self._ends(ids, at, fleeting=node.fleeting):
            fleeting = node.fleeting or ids[at] == self._suffix_id
            child = Node(list(ids[at:end]), rows[at:end].copy(), node, fleeting, self._requests)
            node.children[ids[at]] = child
            node, at = child, end
        self.held += len(ids) - len(known)
        mine = rows[: len(known)]
        spare: Rows = mine[mine != known]
        return spare

    def lock(self, node: Node) -> None:
        """What leads to ``node`` stays until ``unlock``."""
        for above in _path(node):
            above.locks += 1

    def unlock(self, node: Node) -> None:
        for above in _path(node):
            above.locks -= 1

    def evict(self, count: int) -> Rows:
        """Up to ``count`` rows of unlocked leaves, the least recently used first and each from its end."""
        leaves = [(_age(node), index, node) for index, node in enumerate(self._leaves())]
        heapq.heapify(leaves)
        serial, freed = len(leaves), []
        while count > 0 and leaves:
            age, _, leaf = heapq.heappop(leaves)
            if age != _age(leaf):  # joined with its parent since
                again: Node | None = leaf
            else:
                cut = min(count, len(leaf.ids))
                freed.append(leaf.rows[len(leaf.rows) - cut :])
                count -= cut
                again = self._shorten(leaf, len(leaf.ids) - cut)
            if again is not None and not again.children and again.locks == 0:
                serial += 1
                heapq.heappush(leaves, (_age(again), serial, again))
        rows: Rows = np.concatenate(freed) if freed else NO_ROWS
        self.held -= len(rows)
        return rows

    def _ends(self, ids: Sequence[int], start: int, *, fleeting: bool) -> Iterator[int]:
        """Where the nodes of ids[start:] end: at the suffix marker, and at the end."""
        if not fleeting and self._suffix_id is not None:
            marker = next((at for at in range(start, len(ids)) if ids[at] == self._suffix_id), start)
            if marker > start:
                yield marker
        if start < len(ids):
            yield len(ids)

    def _split(self, node: Node, at: int) -> Node:
        """A new node of the first ``at`` tokens; ``node`` keeps the rest."""
        assert node.parent is not None
        upper = Node(node.ids[:at], node.rows[:at], node.parent, node.fleeting, node.used, node.locks)
        node.parent.children[node.ids[0]] = upper
        node.ids, node.rows, node.parent = node.ids[at:], node.rows[at:], upper
        upper.children[node.ids[0]] = node
        return upper

    def _shorten(self, leaf: Node, length: int) -> Node | None:
        """Returns the parent if nothing is left of the leaf; where one child is left to it, the two become one."""
        parent = leaf.parent
        assert parent is not None
        if length:
            leaf.ids, leaf.rows = leaf.ids[:length], leaf.rows[:length]
            return None
        del parent.children[leaf.ids[0]]
        if parent is self._root:
            return None
        if len(parent.children) == 1:
            (child,) = parent.children.values()
            if child.locks == parent.locks and child.fleeting == parent.fleeting:
                _join(parent, child)
            return None
        return parent

    def _leaves(self) -> Iterator[Node]:
        """Unlocked ones."""
        nodes = list(self._root.children.values())
        while nodes:
            node = nodes.pop()
            nodes += node.children.values()
            if not node.children and node.locks == 0:
                yield node


def _age(node: Node) -> int:
    return node.used if node.fleeting else node.used + GRACE


def _join(parent: Node, child: Node) -> None:
    """``child`` is the only one: it takes its parent's place. No lock ends at the parent, or theirs would differ."""
    above = parent.parent
    assert above is not None
    child.ids, child.rows = parent.ids + child.ids, np.concatenate((parent.rows, child.rows))
    child.parent, child.used = above, parent.used
    above.children[child.ids[0]] = child


def _path(node: Node) -> Iterator[Node]:
    above: Node | None = node
    while above is not None:
        yield above
        above = above.parent


def _same(run: list[int], ids: list[int], at: int) -> int:
    """How many tokens of ``run`` stand at ``ids[at:]``."""
    there = ids[at : at + len(run)]
    if there == run:
        return len(run)
    return next((i for i, (a, b) in enumerate(zip(run, there, strict=False)) if a != b), min(len(run), len(there)))
