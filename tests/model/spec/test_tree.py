"""The tree is optimal, fusion is a union, and the baselines it replaced are no better."""

from __future__ import annotations

import math
import random
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.model.spec.build import build, fuse, observe, select
from holefill.model.spec.calibration import Calibration
from holefill.model.spec.cost import CostCurve, LiveCost, measure_cost
from holefill.model.spec.tree import DraftTree, Successor, TreeBuilder, ancestor_mask, best_first

Law = dict[tuple[int, ...], list[float]]

TEMPLATE_222 = {0: 8, 1: 21, 2: 25, 3: 15, 4: 8, 5: 3}
"""Token Recycling's static tree: 80 nodes below the root, this many per level (PAPERS.md 2.9)."""


def random_law(rng: random.Random, vocabulary: int, depth: int, peaked: float = 1.0) -> Law:
    law: Law = {}
    frontier: list[tuple[int, ...]] = [()]
    for _ in range(depth):
        for path in frontier:
            weights = [rng.random() ** (1 + 4 * peaked) for _ in range(vocabulary)]
            law[path] = [weight / sum(weights) for weight in weights]
        frontier = [(*path, token) for path in frontier for token in range(vocabulary)]
    return law


def heap_tree(law: Law, budget: int, depth: int, width: int | None = None) -> DraftTree:
    def successors(path: tuple[int, ...]) -> list[Successor[tuple[int, ...]]]:
        ordered = sorted(enumerate(law.get(path, [])), key=lambda item: -item[1])[:width]
        return [Successor(token, p, 1, (*path, token)) for token, p in ordered]

    root: tuple[int, ...] = ()
    return best_first(99, root, successors, budget=budget, max_depth=depth, source="test")


def path_value(law: Law, path: tuple[int, ...]) -> float:
    return math.prod(law[path[:i]][path[i]] for i in range(len(path)))


def exhaustive_best(law: Law, budget: int, vocabulary: int, depth: int) -> float:
    """Over all trees: the value only falls along a path, so the best set of nodes is searched among closed sets."""
    paths = [(*path, token) for path in law for token in range(vocabulary)]
    best = 0.0
    for chosen in combinations(paths, budget):
        closed = set(chosen)
        if all(len(path) == 1 or path[:-1] in closed for path in chosen):
            best = max(best, sum(path_value(law, path) for path in chosen))
    return best


@pytest.mark.parametrize(("vocabulary", "depth", "budget"), [(2, 3, 6), (3, 2, 6), (5, 1, 4), (4, 2, 4), (5, 2, 3)])
def test_heap_tree_is_the_exhaustive_optimum(vocabulary: int, depth: int, budget: int) -> None:
    rng = random.Random(vocabulary * 100 + budget)
    for _ in range(3):
        law = random_law(rng, vocabulary, depth, peaked=rng.random())
        found = heap_tree(law, budget, depth)
        assert found.value() - 1 == pytest.approx(exhaustive_best(law, budget, vocabulary, depth))


def template_tree(law: Law) -> DraftTree:
    """The static template: at each level the node count of "2.2.2", filled in rank order, as its authors do."""
    builder = TreeBuilder(99)
    level: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    for nodes in TEMPLATE_222.values():
        grown: list[tuple[int, tuple[int, ...]]] = []
        wanted = [max(1, nodes * 2 ** -(i + 1)) for i in range(len(level))]
        left = nodes
        for (parent, path), share in zip(level, wanted, strict=True):
            ordered = sorted(enumerate(law.get(path, [])), key=lambda item: -item[1])
            for token, p in ordered[: min(8, math.ceil(share), left)]:
                grown.append((builder.add(parent, token, p, "static", 1), (*path, token)))
                left -= 1
        level = grown
    return builder.tree()


def test_heap_is_never_below_the_static_template() -> None:
    rng = random.Random(5)
    for round_ in range(10):
        law = random_law(rng, 8, 4, peaked=round_ / 10)
        static = template_tree(law)
        assert heap_tree(law, len(static) - 1, 6).value() >= static.value() - 1e-12


def mcts_tree(law: Law, nodes: int, rng: random.Random, iterations: int = 150) -> DraftTree:
    """ADED's search: PUCT with c1 = 32, c2 = 8, depth 4; the most visited paths make the tree."""
    visits: dict[tuple[int, ...], int] = {}
    total: dict[tuple[int, ...], float] = {}
    for _ in range(iterations):
        path: tuple[int, ...] = ()
        reward = 1.0
        while path in law and len(path) < 4:
            parent_visits = visits.get(path, 0) + 1

            def puct(token: int, path: tuple[int, ...] = path, parent_visits: int = parent_visits) -> float:
                child = (*path, token)
                n = visits.get(child, 0)
                explore = 32 + math.log((parent_visits + 9) / 8)
                return total.get(child, 0.0) / max(n, 1) + explore * law[path][token] * math.sqrt(parent_visits) / (
                    1 + n
                )

            path = (*path, max(range(len(law[path])), key=puct))
            reward += law[path[:-1]][path[-1]]
        for length in range(1, len(path) + 1):
            visits[path[:length]] = visits.get(path[:length], 0) + 1
            total[path[:length]] = total.get(path[:length], 0.0) + reward
    builder = TreeBuilder(99)
    index: dict[tuple[int, ...], int] = {(): 0}
    for path in sorted(visits, key=lambda path: (-visits[path], len(path), path))[:nodes]:
        index[path] = builder.add(index[path[:-1]], path[-1], law[path[:-1]][path[-1]], "mcts", 1)
    return builder.tree()


def test_heap_is_never_below_monte_carlo_search() -> None:
    rng = random.Random(6)
    for _ in range(10):
        law = random_law(rng, 6, 4, peaked=0.5)
        searched = mcts_tree(law, 24, rng)
        assert heap_tree(law, len(searched) - 1, 4).value() >= searched.value() - 1e-12


@st.composite
def draft_trees(draw: st.DrawFn) -> DraftTree:
    builder = TreeBuilder(7)
    taken: set[tuple[int, int]] = set()
    for _ in range(draw(st.integers(0, 10))):
        parent, token = draw(st.integers(0, len(builder) - 1)), draw(st.integers(0, 3))
        if (parent, token) not in taken:
            taken.add((parent, token))
            builder.add(parent, token, draw(st.floats(0.05, 1.0)), draw(st.sampled_from("ab")), draw(st.integers(1, 9)))
    return builder.tree()


@settings(max_examples=150, deadline=None)
@given(st.lists(draft_trees(), min_size=1, max_size=3))
def test_fused_paths_are_the_union(trees: list[DraftTree]) -> None:
    fused = build(trees, CostCurve.flat(), 100, Calibration())
    assert fused.paths() == set().union(*(tree.paths() for tree in trees))
    assert len(fused) <= sum(len(tree) - 1 for tree in trees) + 1
    assert len(fused.paths()) == len(fused) - 1  # no path twice
    for node in range(1, len(fused)):
        assert fused.parent[node] < node
        assert fused.depth[node] == fused.depth[fused.parent[node]] + 1
    for siblings in fused.children():
        assert sum(fused.p_accept[node] for node in siblings) <= 1 + 1e-9


def test_fusing_different_contexts_is_refused() -> None:
    with pytest.raises(ValueError, match="roots differ"):
        fuse([DraftTree.root(1), DraftTree.root(2)], Calibration())


@settings(max_examples=100, deadline=None)
@given(draft_trees(), st.integers(0, 6), st.lists(st.floats(0, 5), min_size=6, max_size=6), st.floats(0.5, 8))
def test_selection_saves_most_among_prefixes(tree: DraftTree, budget: int, steps: list[float], token_ms: float) -> None:
    times = [5.0]
    for step in steps:
        times.append(times[-1] + step)
    cost = CostCurve(tuple(range(1, 8)), tuple(times))
    root = fuse([tree], Calibration())
    chosen = select(root, cost, budget, token_ms)

    def saving(candidate: DraftTree) -> float:
        return candidate.value() * token_ms - cost(len(candidate))

    everything = [select(root, CostCurve.flat(), size) for size in range(budget + 1)]
    assert saving(chosen) >= max(saving(candidate) for candidate in everything) - 1e-9
    assert len(chosen) - 1 <= budget


def test_the_cheapest_way_on_is_a_lower_bound_of_every_step() -> None:
    cost = CostCurve((1, 2, 4, 5, 8), (10.0, 11.0, 11.5, 20.0, 23.0))
    assert cost.cheapest(1) == pytest.approx(0.5)  # three more for 1.5
    assert cost.cheapest(4) == pytest.approx(1.0 + 7.5 / 124)  # the dear step spread over all that follow
    for size in range(1, 60):
        for more in range(size + 1, 60):
            assert cost.cheapest(size) * (more - size) <= cost(more) - cost(size) + 1e-9


def test_ancestor_mask_follows_parents() -> None:
    builder = TreeBuilder(0)
    a = builder.add(0, 1, 0.5, "t", 1)
    builder.add(0, 2, 0.5, "t", 1)
    c = builder.add(a, 3, 0.5, "t", 1)
    mask = ancestor_mask(builder.tree())
    assert mask[c].tolist() == [True, True, False, True]
    assert mask[2].tolist() == [True, False, True, False]
    assert mask.dtype == torch.bool


def test_calibration_learns_the_true_rate_and_observes_pruned_nodes() -> None:
    rng = random.Random(0)
    calibration = Calibration()
    builder = TreeBuilder(0)
    builder.add(0, 1, 0.95, "over", 1)
    builder.add(0, 2, 0.05, "over", 1)
    tree = builder.tree()
    for _ in range(3000):
        observe(fuse([tree], calibration), [1 if rng.random() < 0.3 else 3], calibration)
    likely, unlikely = fuse([tree], calibration).following()
    assert likely.p == pytest.approx(0.3, abs=0.05)
    assert unlikely.p == pytest.approx(0.0, abs=0.02)
    assert calibration.reliability.error() < 0.05


def test_cost_curve_interpolates_and_smooths_noise() -> None:
    fake = iter([0.0, 0.010, 0.0, 0.008, 0.0, 0.020])
    curve = measure_cost(lambda n: None, (1, 2, 4), repeats=1, clock=lambda: next(fake))
    assert curve.ms == pytest.approx((10.0, 10.0, 20.0))
    assert curve(3) == pytest.approx(15.0)
    assert curve(6) == pytest.approx(30.0)
    with pytest.raises(ValueError, match="two increasing sizes"):
        CostCurve((1,), (1.0,))


@pytest.mark.parametrize(("memory", "rows"), [(1.0, 1.0), (0.65, 1.9), (1.6, 0.5)])
def test_a_live_cost_follows_the_machine(memory: float, rows: float) -> None:
    """Whatever the two parts of a forward cost by now, and although one forward in ten waits for something else."""
    measured = CostCurve((1, 2, 4, 8, 16), (8.0, 8.4, 9.2, 10.3, 20.0))
    live = LiveCost(measured)
    assert [live(size) for size in (1, 4, 16)] == [measured(size) for size in (1, 4, 16)]
    rng = random.Random(5)

    def truth(size: int) -> float:
        return memory * measured(1) + rows * (measured(size) - measured(1))

    for step in range(300):
        size = rng.choice((1, 2, 3, 5, 8, 12))
        live.observe(size, 500.0 if step % 10 == 9 else truth(size) * rng.uniform(0.95, 1.05))
    for size in (1, 3, 8, 12):
        assert truth(size) * 0.9 < live(size) < truth(size) * 1.25
    assert live.cheapest(3) == pytest.approx(measured.cheapest(3) * (live(8) - live(1)) / (measured(8) - measured(1)))


def test_a_live_cost_of_equal_forwards_stays_near_its_slope() -> None:
    measured = CostCurve((1, 2, 4), (8.0, 9.0, 11.0))
    live = LiveCost(measured)
    for _ in range(500):
        live.observe(3, 5.0)
    assert live(3) == pytest.approx(5.0, rel=0.05)
    assert 0.5 < (live(4) - live(1)) / 3.0 < 1.5
