"""All drafters' trees → the one tree that is worth verifying (RASD fusion, DySpec's heap, SpecDec++'s stop)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from holefill.model.spec.calibration import SURE, Calibration, Evidence
from holefill.model.spec.cost import Cost
from holefill.model.spec.tree import DraftTree


@dataclass(slots=True)
class FusedNode:
    token: int
    children: dict[int, FusedNode]
    evidences: list[Evidence]
    calibration: Calibration
    p: float = 1.0
    weighed: bool = False

    @property
    def sure(self) -> bool:
        return any(evidence.source == SURE for evidence in self.evidences)

    def following(self) -> Iterable[FusedNode]:
        """The children, with their probabilities."""
        found = self.children.values()
        if not self.weighed:
            self.weighed = True
            for child in found:
                child.p = self.calibration.estimate(child.evidences)
            total = sum(child.p for child in found)
            if any(child.sure for child in found):
                for child in found:
                    child.p = float(child.sure)
            elif total > 1.0:  # siblings exclude each other
                for child in found:
                    child.p /= total
        return found


def build(
    trees: Sequence[DraftTree], cost: Cost, budget: int, calibration: Calibration, token_ms: float | None = None
) -> DraftTree:
    """At most ``budget`` drafted nodes out of all ``trees``, which share their root. ``token_ms`` as in ``select``."""
    return select(fuse(trees, calibration), cost, budget, token_ms)


def fuse(trees: Sequence[DraftTree], calibration: Calibration) -> FusedNode:
    """The union of the trees as a trie: paths are merged along their longest common prefix, the rest is grafted on.

    Every node keeps what each drafter said of it; its calibrated probability is worked out when somebody looks.
    """
    root = FusedNode(trees[0].token[0], {}, [], calibration)
    for tree in trees:
        if tree.token[0] != root.token:
            raise ValueError("drafts of different contexts cannot be fused: their roots differ")
        _graft(root, tree)
    return root


def select(root: FusedNode, cost: Cost, budget: int, token_ms: float | None = None) -> DraftTree:
    """Takes nodes by path product and stops where the next one costs more than it gives.

    A node of value v saves v · ``token_ms``, the time a token takes in the long run (without drafts, c(1): the
    default), and costs c(n+1) − c(n). A measured curve has steps (vector width, tile size) and a dear node may hide
    cheap ones, so every prefix of the best-first order is weighed and the one that saves most is taken.
    """
    worth = cost(1) if token_ms is None else token_ms
    order: list[tuple[FusedNode, int, int]] = [(root, -1, 0)]
    heap: list[tuple[float, int, FusedNode, int, int]] = []
    pushed = 0

    def push_children(node: FusedNode, index: int, value: float, depth: int) -> None:
        nonlocal pushed
        for child in node.following():
            pushed += 1
            heappush(heap, (-value * child.p, pushed, child, index, depth + 1))

    push_children(root, 0, 1.0, 0)
    expected, best_saving, best_size = 1.0, worth - cost(1), 1
    while heap and len(order) <= budget:
        negative, _, node, parent, depth = heappop(heap)
        if -negative * worth <= cost.cheapest(len(order)):  # of what is left nothing pays, however it is combined
            break
        push_children(node, len(order), -negative, depth)
        order.append((node, parent, depth))
        expected -= negative
        saving = expected * worth - cost(len(order))
        if saving > best_saving:
            best_saving, best_size = saving, len(order)
    return _tree(order[:best_size])


def observe(root: FusedNode, committed: Sequence[int], calibration: Calibration) -> None:
    """Scores every proposal whose parent was committed, the ones ``select`` left out too (no selection bias)."""
    node = root
    for token in committed:
        for child in node.following():
            calibration.record(child.evidences, child.token == token)
            calibration.reliability.add(child.p, child.token == token)
        following = node.children.get(token)
        if following is None:
            return
        node = following


def _graft(root: FusedNode, tree: DraftTree) -> None:
    nodes = [root]
    ranks = [0] * len(tree)
    for index in range(1, len(tree)):
        parent = nodes[tree.parent[index]]
        rank = ranks[tree.parent[index]]
        ranks[tree.parent[index]] += 1
        token, source = tree.token[index], tree.source[index]
        child = parent.children.get(token)
        if child is None:
            child = parent.children[token] = FusedNode(token, {}, [], parent.calibration)
        # A drafter may give several trees (one per match length): the first, strongest, speaks for the source.
        if all(evidence.source != source for evidence in child.evidences):
            child.evidences.append(Evidence(source, tree.match[index], rank, tree.p_accept[index]))
        nodes.append(child)


def _tree(order: Sequence[tuple[FusedNode, int, int]]) -> DraftTree:
    strongest = [max(node.evidences, key=lambda evidence: evidence.p, default=None) for node, _, _ in order]
    return DraftTree(
        token=tuple(node.token for node, _, _ in order),
        parent=tuple(parent for _, parent, _ in order),
        depth=tuple(depth for _, _, depth in order),
        p_accept=tuple(node.p for node, _, _ in order),
        source=tuple("" if evidence is None else evidence.source for evidence in strongest),
        match=tuple(0 if evidence is None else evidence.match for evidence in strongest),
    )
