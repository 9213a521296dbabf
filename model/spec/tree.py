"""The one draft structure every drafter fills and one forward verifies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Generic, NamedTuple, TypeVar

import torch

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class DraftTree:
    """Nodes in topological order; node 0 is the root, the last committed token.

    ``p_accept[i]`` is the probability that node i is accepted given that its parent is; the root's is 1.
    ``match[i]`` is how many context tokens the guess of node i rests on.
    """

    token: tuple[int, ...]
    parent: tuple[int, ...]
    depth: tuple[int, ...]
    p_accept: tuple[float, ...]
    source: tuple[str, ...]
    match: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.token)

    @classmethod
    def root(cls, token: int) -> DraftTree:
        """Nothing drafted: verifying it is one plain decoding step."""
        return cls((token,), (-1,), (0,), (1.0,), ("",), (0,))

    def paths(self) -> set[tuple[int, ...]]:
        """The token path from the root (excluded) to every node."""
        found: list[tuple[int, ...]] = [()]
        for node in range(1, len(self)):
            found.append((*found[self.parent[node]], self.token[node]))
        return set(found[1:])

    def children(self) -> list[list[int]]:
        """Child nodes of every node, in tree order."""
        found: list[list[int]] = [[] for _ in self.token]
        for node in range(1, len(self)):
            found[self.parent[node]].append(node)
        return found

    def keep(self, nodes: Sequence[int]) -> DraftTree:
        """Of all nodes these: ascending, the root first, each with its parent."""
        at = {node: index for index, node in enumerate(nodes)}
        return DraftTree(
            tuple(self.token[node] for node in nodes),
            (-1, *(at[self.parent[node]] for node in nodes[1:])),
            tuple(self.depth[node] for node in nodes),
            tuple(self.p_accept[node] for node in nodes),
            tuple(self.source[node] for node in nodes),
            tuple(self.match[node] for node in nodes),
        )

    def value(self) -> float:
        """Expected tokens of one verification: the sum of path products (DySpec); the root stands for the bonus."""
        product = [1.0]
        for node in range(1, len(self)):
            product.append(product[self.parent[node]] * self.p_accept[node])
        return sum(product)


def ancestor_mask(tree: DraftTree) -> torch.Tensor:
    """bool [n, n]: row i may attend to node j, that is, j is i or an ancestor of i."""
    mask = torch.eye(len(tree), dtype=torch.bool)
    for node in range(1, len(tree)):
        mask[node] |= mask[tree.parent[node]]
    return mask


class Forced(NamedTuple):
    """A token of an answer that a guide leaves no other way."""

    token: int
    only: bool
    """It alone may stand there; else only the text is certain, and this is how it is usually spelled."""


class Successor(NamedTuple, Generic[State]):
    """One possible next token of a drafter's state."""

    token: int
    p: float
    match: int
    state: State


class TreeBuilder:
    """Collects nodes in topological order."""

    def __init__(self, root: int) -> None:
        self._nodes: list[tuple[int, int, int, float, str, int]] = [(root, -1, 0, 1.0, "", 0)]

    def add(self, parent: int, token: int, p: float, source: str, match: int) -> int:
        self._nodes.append((token, parent, self._nodes[parent][2] + 1, p, source, match))
        return len(self._nodes) - 1

    def depth(self, node: int) -> int:
        return self._nodes[node][2]

    def __len__(self) -> int:
        return len(self._nodes)

    def tree(self) -> DraftTree:
        return DraftTree(*zip(*self._nodes, strict=True))


def best_first(
    root: int,
    start: State,
    successors: Callable[[State], Sequence[Successor[State]]],
    *,
    budget: int,
    max_depth: int,
    source: str,
    floor: float = 0.0,
) -> DraftTree:
    """The ``budget`` nodes of largest path product (DySpec's heap; with exact p it is the optimal tree).

    None below ``floor``: no device verifies a node that cheaply.

    ``successors`` returns the possible next tokens, most probable first. A node enters the heap only when its more
    probable sibling leaves it, so the work is O(budget log budget), whatever the branching.
    """
    builder = TreeBuilder(root)
    heap: list[tuple[float, int, int, int, Sequence[Successor[State]], float]] = []
    pushed = 0

    def push(parent: int, rank: int, options: Sequence[Successor[State]], value: float) -> None:
        nonlocal pushed
        if rank < len(options) and value * options[rank].p >= floor:
            pushed += 1
            heappush(heap, (-value * options[rank].p, pushed, parent, rank, options, value))

    push(0, 0, successors(start), 1.0)
    while heap and len(builder) <= budget:
        negative, _, parent, rank, options, parent_value = heappop(heap)
        chosen = options[rank]
        node = builder.add(parent, chosen.token, chosen.p, source, chosen.match)
        push(parent, rank + 1, options, parent_value)
        if builder.depth(node) < max_depth:
            push(node, 0, successors(chosen.state), -negative)
    return builder.tree()
