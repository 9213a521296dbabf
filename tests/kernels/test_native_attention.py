"""Native attention against its reference, and the promise that a row does not depend on its companions."""

from __future__ import annotations

import pytest
import torch

from holefill.kernels.native_attention import HEAD_SIZES, native_attention, reference, supports

pytestmark = pytest.mark.skipif(not supports(64), reason="no native attention here: no C++ compiler or no AVX512")

TOLERANCE = 64 * torch.finfo(torch.float32).eps
"""Of unit-normal inputs: the dot product of 32–128 terms and a softmax sum, each a few ulps."""


def make(n: int, heads: int, kv_heads: int, past: int, dim: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    wide = torch.randn(n, heads + 3, dim, generator=generator)
    q = wide[:, :heads]  # strided rows, as a slice of a fused projection
    cache = torch.randn(2, kv_heads, past + n + 5, dim, generator=generator)
    return q, cache[0, :, : past + n], cache[1, :, : past + n]


CACHES = pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])


@CACHES
@pytest.mark.parametrize("dim", sorted(HEAD_SIZES))
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (8, 2), (14, 2), (3, 1)])
@pytest.mark.parametrize(("n", "past"), [(1, 0), (1, 1), (1, 17), (2, 130), (9, 0), (17, 31)])
def test_equals_reference(dim: int, heads: int, kv_heads: int, n: int, past: int, dtype: torch.dtype) -> None:
    q, keys, values = make(n, heads, kv_heads, past, dim)
    keys, values = keys.to(dtype), values.to(dtype)
    scale = dim**-0.5
    expected = reference(q, keys, values, None, scale)
    ours = native_attention(q, keys, values, None, scale)
    assert (ours - expected).abs().max() <= TOLERANCE
    if past + n > 1:  # the planted fault: one key dropped
        keys[:, 0] = 0
        values[:, 0] = 0
        assert (native_attention(q, keys, values, None, scale) - expected).abs().max() > TOLERANCE


def test_a_tree_equals_its_paths_bitwise() -> None:
    """Nodes 0 → 1 → 3, 0 → 2 → 4: each path alone gives the same bits as inside the tree."""
    q, keys, values = make(5, 14, 2, 100, 64)
    parents = [-1, 0, 0, 1, 2]
    hidden = torch.ones(5, 5, dtype=torch.bool)
    for node in range(5):
        at = node
        while at >= 0:
            hidden[node, at] = False
            at = parents[at]
    tree = native_attention(q, keys, values, hidden, 0.125)
    torch.testing.assert_close(tree, reference(q, keys, values, hidden, 0.125), rtol=0, atol=TOLERANCE)
    for path in ([0, 1, 3], [0, 2, 4]):
        rows = [*range(100), *(100 + node for node in path)]
        alone = native_attention(q[path], keys[:, rows].contiguous(), values[:, rows].contiguous(), None, 0.125)
        assert torch.equal(alone, tree[path])
    hidden[4, 3] = False  # the planted fault: one mask bit
    assert not torch.equal(native_attention(q, keys, values, hidden, 0.125)[4], tree[4])


@CACHES
def test_a_row_does_not_depend_on_n(dtype: torch.dtype) -> None:
    q, keys, values = make(33, 14, 2, 70, 64)
    keys, values = keys.to(dtype), values.to(dtype)
    together = native_attention(q, keys, values, None, 0.125)
    for row in range(33):
        alone = native_attention(q[row : row + 1], keys[:, : 71 + row], values[:, : 71 + row], None, 0.125)
        assert torch.equal(alone[0], together[row])


@CACHES
@pytest.mark.parametrize("dim", sorted(HEAD_SIZES))
@pytest.mark.parametrize("n", [1, 9])
def test_where_keys_lie_changes_no_bit(dim: int, n: int, dtype: torch.dtype) -> None:
    q, keys, values = make(n, 14, 2, 131, dim)
    keys, values = keys.to(dtype), values.to(dtype)
    total = 131 + n
    generator = torch.Generator().manual_seed(1)
    expected = native_attention(q, keys, values, None, 0.125)
    for rows in (torch.randperm(400, generator=generator)[:total].int(), torch.arange(200, 200 + total).int()):
        k, v = torch.full((2, 2, 400, dim), torch.nan, dtype=dtype)  # a row that is not the sequence's would be seen
        k[:, rows], v[:, rows] = keys, values
        assert torch.equal(native_attention(q, k, v, None, 0.125, rows), expected)
        torch.testing.assert_close(reference(q, k, v, None, 0.125, rows), expected, rtol=0, atol=TOLERANCE)
        swapped = rows.clone()
        swapped[[3, 4]] = rows[[4, 3]]
        assert not torch.equal(native_attention(q, k, v, None, 0.125, swapped), expected), "the order of keys counts"
        swapped[3] = swapped[5]  # the planted fault: one row twice
        assert (native_attention(q, k, v, None, 0.125, swapped) - expected).abs().max() > TOLERANCE


def test_large_scores_do_not_overflow() -> None:
    q, keys, values = make(3, 4, 2, 40, 64)
    q, keys, values = q * 100, keys.contiguous() * 100, values.contiguous()
    out = native_attention(q, keys, values, None, 1.0)
    assert torch.isfinite(out).all()
    torch.testing.assert_close(out, reference(q, keys, values, None, 1.0), rtol=0, atol=1e-3)


def test_wrong_input_raises() -> None:
    q, keys, values = make(2, 4, 2, 3, 64)
    with pytest.raises(ValueError, match="do not fit"):
        native_attention(q, keys[:, :1], values[:, :1], None, 1.0)
    with pytest.raises(ValueError, match="float32"):
        native_attention(q, keys.double(), values.double(), None, 1.0)
    with pytest.raises(ValueError, match="hidden must be"):
        native_attention(q, keys, values, torch.zeros(2, 3, dtype=torch.bool), 1.0)
    for rows, says in (
        (torch.tensor([0, 1, 5]).int(), "do not fit a pool"),
        (torch.tensor([0, -1, 2]).int(), "do not fit a pool"),
        (torch.tensor([0, 1, 2]), "int32"),
        (torch.arange(6).int()[::2], "dense"),
        (torch.tensor([0]).int(), "do not fit"),
    ):
        with pytest.raises(ValueError, match=says):
            native_attention(q, keys, values, None, 1.0, rows)
    with pytest.raises(ValueError, match="size 48"):
        native_attention(q[..., :48], keys[..., :48], values[..., :48], None, 1.0)
