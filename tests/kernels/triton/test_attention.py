"""Attention and merge equal their fp64 references, by any split of the keys; a single wrong bit is seen."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from holefill.kernels import attention, partial
from holefill.kernels.attention import Source, attend, attend_all
from holefill.kernels.partial import AttentionPartial, empty_partial
from holefill.kernels.segments import Segments, Visible, ancestor_words

EPS = {dtype: torch.finfo(dtype).eps for dtype in (torch.float32, torch.float16, torch.bfloat16)}
OUT_TOLERANCE = {
    # Weights are rounded to the values' dtype: half an eps of Σ weight · |value|, and half an eps for the result.
    torch.float16: 1.0 * EPS[torch.float16],
    torch.bfloat16: 1.0 * EPS[torch.bfloat16],
    # fp32 sums of head_dim products, then exp2: a relative error of a few eps times |score|.
    torch.float32: 16 * EPS[torch.float32],
}
"""Of the largest |value|."""
LSE_TOLERANCE = 32 * EPS[torch.float32]
"""Products are exact and sums fp32 in every dtype."""


@dataclass(frozen=True, slots=True)
class Shape:
    head_dim: int
    kv_heads: int
    group: int
    dtype: torch.dtype


# Pairwise over head_dim × group × dtype.
SHAPES = [
    Shape(64, 2, 7, torch.float32),
    Shape(64, 2, 1, torch.float16),
    Shape(64, 1, 4, torch.bfloat16),
    Shape(80, 1, 4, torch.float32),
    Shape(80, 1, 7, torch.float16),
    Shape(80, 2, 1, torch.bfloat16),
    Shape(128, 2, 1, torch.float32),
    Shape(128, 1, 4, torch.float16),
    Shape(128, 1, 7, torch.bfloat16),
]


def draw(shape: Shape, n: int, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values; the pool is stored heads first, as the cache does, with NaN around what may be read."""
    device = generator.device

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, device=device).to(shape.dtype)

    queries = normal(n, shape.kv_heads * shape.group, shape.head_dim)
    pool = torch.full((2, shape.kv_heads, rows + 2, shape.head_dim), float("nan"), dtype=shape.dtype, device=device)
    pool[:, :, :rows] = normal(2, shape.kv_heads, rows, shape.head_dim)
    keys, values = pool.transpose(1, 2)
    return queries, keys, values


def check(actual: AttentionPartial, expected: AttentionPartial, dtype: torch.dtype, values: Tensor) -> None:
    largest = float(values.float().nan_to_num().abs().max()) if values.numel() else 0.0
    torch.testing.assert_close(
        actual.out.float(), expected.out, rtol=0, atol=OUT_TOLERANCE[dtype] * max(largest, 1.0), equal_nan=False
    )
    torch.testing.assert_close(actual.lse, expected.lse, rtol=LSE_TOLERANCE, atol=LSE_TOLERANCE)


def scale_of(queries: Tensor) -> float:
    return 1 / math.sqrt(queries.shape[-1])


def random_tree(n: int, generator: torch.Generator) -> Tensor:
    """bool [n, n]: node i sees itself and its ancestors."""
    sees = torch.eye(n, dtype=torch.bool, device=generator.device)
    for node in range(1, n):
        parent = int(torch.randint(0, node, (1,), generator=generator, device=generator.device))
        sees[node] |= sees[parent]
    return sees


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("n", "keys"), [(1, 0), (1, 1), (3, 17), (2, 130)])
def test_prefix(shape: Shape, n: int, keys: int, device: str, generator: torch.Generator) -> None:
    queries, k, v = draw(shape, n, keys, generator)
    source = Source(k, v, Segments.of([n], [keys], device=device))
    expected = attention.reference(queries, source, scale_of(queries))
    check(attend(queries, source, scale_of(queries)), expected, shape.dtype, v)


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[4], SHAPES[8]], ids=str)
def test_ragged_batch_of_indexed_rows(shape: Shape, device: str, generator: torch.Generator) -> None:
    """Sequences of 0, 1, 17 and 130 scattered rows, one of them without a query."""
    counts = [0, 1, 17, 130]
    queries, k, v = draw(shape, 5, 200, generator)
    rows = torch.randperm(200, generator=generator, device=device)[: sum(counts)].int()
    source = Source(k, v, Segments.of([1, 1, 3, 0], counts, rows=rows, device=device))
    expected = attention.reference(queries, source, scale_of(queries))
    actual = attend(queries, source, scale_of(queries))
    check(actual, expected, shape.dtype, v)
    assert actual.lse[0].eq(float("-inf")).all()
    assert actual.out[0].eq(0).all()


@pytest.mark.parametrize("shape", SHAPES[::2], ids=str)
@pytest.mark.parametrize("n", [1, 17, 66])
def test_tree(shape: Shape, n: int, device: str, generator: torch.Generator) -> None:
    queries, k, v = draw(shape, n, n, generator)
    words = ancestor_words(random_tree(n, generator))
    source = Source(k, v, Segments.of([n], [n], device=device), Visible.BITS, words)
    expected = attention.reference(queries, source, scale_of(queries))
    check(attend(queries, source, scale_of(queries)), expected, shape.dtype, v)


@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[5], SHAPES[6]], ids=str)
@pytest.mark.parametrize(("n", "keys"), [(17, 17), (5, 70), (66, 66), (3, 2)])
def test_causal(shape: Shape, n: int, keys: int, device: str, generator: torch.Generator) -> None:
    """With 3 queries of 2 keys the first sees nothing."""
    queries, k, v = draw(shape, n, keys, generator)
    source = Source(k, v, Segments.of([n], [keys], device=device), Visible.CAUSAL)
    expected = attention.reference(queries, source, scale_of(queries))
    check(attend(queries, source, scale_of(queries)), expected, shape.dtype, v)


@pytest.mark.parametrize("keys", [511, 513, 1030])
def test_splits_of_one_context(keys: int, device: str, generator: torch.Generator) -> None:
    queries, k, v = draw(SHAPES[0], 1, keys, generator)
    source = Source(k, v, Segments.of([1], [keys], device=device))
    assert attention.splits(source) == -(-keys // attention.SPLIT_KEYS)
    expected = attention.reference(queries, source, scale_of(queries))
    check(attend(queries, source, scale_of(queries)), expected, torch.float32, v)


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[7], SHAPES[8]], ids=str)
def test_two_prefix_levels_and_trees_equal_dense_attention(
    shape: Shape, device: str, generator: torch.Generator
) -> None:
    """Verification as it will run: a prefix of all, a private suffix of each sequence, a draft tree of each."""
    shared, suffixes, nodes = 20, [3, 0], [4, 6]
    n, at = sum(nodes), shared + sum(suffixes)
    queries, k, v = draw(shape, n, at + n, generator)
    tree = torch.zeros(n, n, dtype=torch.bool, device=device)
    tree[:4, :4], tree[4:, 4:] = (random_tree(count, generator) for count in nodes)
    packed = torch.cat([ancestor_words(tree[:4, :4]), ancestor_words(tree[4:, 4:])])
    sources = [
        Source(k, v, Segments.of([n], [shared], device=device)),
        Source(k[shared:], v[shared:], Segments.of(nodes, suffixes, device=device)),
        Source(k[at:], v[at:], Segments.of(nodes, nodes, device=device), Visible.BITS, packed),
    ]
    sees = torch.ones(n, at + n, dtype=torch.bool, device=device)
    sees[4:, shared:at] = False  # the suffix of the first sequence
    sees[:, at:] = tree
    whole = Source(k, v, Segments.of([n], [at + n], device=device), Visible.BITS, ancestor_words(sees))
    expected = attention.reference(queries, whole, scale_of(queries))
    merged = attend_all(queries, sources, scale_of(queries))
    assert merged.out.dtype == shape.dtype
    check(merged, expected, shape.dtype, v)


def test_merge_of_any_split_is_attention_over_the_whole(device: str, generator: torch.Generator) -> None:
    shape, keys = SHAPES[0], 5
    queries, k, v = draw(shape, 2, keys, generator)
    whole = attention.reference(queries, Source(k, v, Segments.of([2], [keys], device=device)), scale_of(queries))
    for cuts in itertools.combinations_with_replacement(range(keys + 1), 2):  # empty parts and single keys among them
        ends = [*cuts, keys]
        parts, start = [], 0
        for end in ends:
            source = Source(k[start:], v[start:], Segments.of([2], [end - start], device=device))
            parts.append(attention.reference(queries, source, scale_of(queries)))
            start = end
        check(partial.merge(parts), whole, torch.float32, v)
        check(partial.merge([parts[2], parts[0], parts[1]]), whole, torch.float32, v)
        check(partial.merge([partial.merge(parts[:2]), parts[2]]), whole, torch.float32, v)


def test_the_empty_part_is_neutral(device: str, generator: torch.Generator) -> None:
    queries, k, v = draw(SHAPES[3], 3, 17, generator)
    part = attention.reference(queries, Source(k, v, Segments.of([3], [17], device=device)), scale_of(queries))
    none = empty_partial(queries)
    check(partial.merge([none, part, none]), part, torch.float32, v)
    nothing = partial.merge([none, none])
    assert nothing.out.eq(0).all()
    assert nothing.lse.eq(float("-inf")).all()


@pytest.mark.parametrize("n", [0, 1, 17, 130])
def test_merge_sizes(n: int, device: str, generator: torch.Generator) -> None:
    outs = torch.randn(5, n, 3, 80, generator=generator, device=device)
    lses = torch.randn(5, n, 3, generator=generator, device=device) * 30
    lses[1] = float("-inf")
    check(partial.merge_stacked(outs, lses), partial.reference(outs, lses), torch.float32, outs)


def test_no_queries(device: str, generator: torch.Generator) -> None:
    queries, k, v = draw(SHAPES[0], 0, 5, generator)
    assert attend(queries, Source(k, v, Segments.of([0], [5], device=device)), 1.0).out.shape == (0, 14, 64)


@pytest.mark.parametrize("dtype", EPS)
def test_planted_faults_are_rejected(dtype: torch.dtype, device: str, generator: torch.Generator) -> None:
    """The tolerance of each dtype still sees one wrong mask bit, one lost key, one lost part, one wrong head."""
    n = 33
    queries, k, v = draw(Shape(64, 2, 4, dtype), n, n, generator)
    tree = random_tree(n, generator)
    segments = Segments.of([n], [n], device=device)
    source = Source(k, v, segments, Visible.BITS, ancestor_words(tree))
    expected = attention.reference(queries, source, scale_of(queries))
    wrong_bit = tree.clone()
    wrong_bit[n - 1, int((~tree[n - 1]).nonzero()[0])] = True
    faults = [
        replace(source, ancestors=ancestor_words(wrong_bit)),
        replace(source, segments=Segments.of([n], [n - 1], device=device)),
        replace(source, keys=k.flip(1), values=v.flip(1)),
        replace(source, visible=Visible.CAUSAL, ancestors=None),
    ]
    check(attend(queries, source, scale_of(queries)), expected, dtype, v)
    for fault in faults:
        with pytest.raises(AssertionError):
            check(attend(queries, fault, scale_of(queries)), expected, dtype, v)


def test_a_lost_part_is_rejected(device: str, generator: torch.Generator) -> None:
    outs = torch.randn(5, 3, 2, 64, generator=generator, device=device)
    lses = torch.randn(5, 3, 2, generator=generator, device=device)
    expected = partial.reference(outs, lses)
    with pytest.raises(AssertionError):
        check(partial.merge_stacked(outs[:4], lses[:4]), expected, torch.float32, outs)


def test_wrong_inputs_raise(device: str, generator: torch.Generator) -> None:
    queries, k, v = draw(SHAPES[0], 2, 4, generator)
    segments = Segments.of([2], [4], device=device)
    with pytest.raises(ValueError, match="KV heads"):
        attend(queries.half(), Source(k, v, segments), 1.0)
    with pytest.raises(ValueError, match="ancestor words"):
        Source(k, v, segments, Visible.BITS)
    words = torch.zeros(2, 1, dtype=torch.int64, device=device)
    with pytest.raises(ValueError, match="no bit for key 64"):
        Source(k, v, Segments.of([2], [65], device=device), Visible.BITS, words)
    with pytest.raises(ValueError, match="contiguous"):
        attend(queries, Source(k, v.transpose(0, 2).contiguous().transpose(0, 2), segments), 1.0)
    with pytest.raises(ValueError, match="number of keys"):
        Segments.of([1, 2], [3])
    with pytest.raises(ValueError, match="empty_partial"):
        partial.merge([])
