"""Norm, rotary, SwiGLU and token mask equal their references; planted faults are rejected."""

from __future__ import annotations

import pytest
import torch

from holefill.kernels import rms_norm, rope, swiglu, token_mask

ROUNDINGS = {
    torch.float32: 16,  # fp32 arithmetic against fp64: sums, rsqrt, exp
    torch.float16: 1,  # computed in fp32, rounded once: half an eps, and the fp32 error beside it
    torch.bfloat16: 1,
}
TOLERANCE = {dtype: count * torch.finfo(dtype).eps for dtype, count in ROUNDINGS.items()}
"""Of each value, and of magnitude 1 for those near 0."""
DTYPES = list(ROUNDINGS)


def check(actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.double(), expected.double(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def normal(generator: torch.Generator, dtype: torch.dtype, *size: int) -> torch.Tensor:
    return torch.randn(*size, generator=generator, device=generator.device).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "width"), [(0, 64), (1, 1), (17, 130), (3, 896)])
@pytest.mark.parametrize("add", [False, True])
def test_rms_norm(dtype: torch.dtype, n: int, width: int, add: bool, generator: torch.Generator) -> None:
    x, weight = normal(generator, dtype, n, width), normal(generator, dtype, width)
    residual = normal(generator, dtype, n, width) if add else None
    expected, expected_total = rms_norm.reference(x, residual, weight, 1e-6)
    y, total = rms_norm.rms_norm(x, residual, weight, 1e-6)
    check(y, expected, dtype)
    assert torch.equal(total, expected_total)
    if n > 1:
        lost = x.clone()
        lost[0, int(x[0].abs().argmax())] = 0
        with pytest.raises(AssertionError):  # one value of a row left out of its mean
            check(rms_norm.rms_norm(lost, residual, weight, 1e-6)[0], expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "width"), [(0, 8), (1, 1), (17, 130), (2, 1025)])
def test_swiglu(dtype: torch.dtype, n: int, width: int, generator: torch.Generator) -> None:
    both = normal(generator, dtype, n, 2 * width)
    check(swiglu.swiglu(both), swiglu.reference(both), dtype)
    if n > 1:
        with pytest.raises(AssertionError):  # gate and up exchanged
            check(swiglu.swiglu(both.roll(width, dims=1).contiguous()), swiglu.reference(both), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n", "kv_heads", "group", "head_dim"), [(0, 1, 1, 64), (1, 2, 7, 64), (17, 1, 4, 80), (2, 2, 1, 128)]
)
def test_rope_and_write(
    dtype: torch.dtype, n: int, kv_heads: int, group: int, head_dim: int, generator: torch.Generator
) -> None:
    heads, pool_rows, device = kv_heads * group, 40, generator.device
    qkv = normal(generator, dtype, n, (heads + 2 * kv_heads) * head_dim)
    angle = torch.rand(n, head_dim // 2, generator=generator, device=device) * 6
    slots = torch.randperm(pool_rows, generator=generator, device=device)[:n]
    pool = normal(generator, dtype, 2, kv_heads, pool_rows, head_dim).transpose(1, 2)
    before = qkv, angle.cos(), angle.sin(), slots
    queries, keys, values = rope.reference(*before, *pool)
    actual = rope.rope(*before, *pool)
    check(actual, queries, dtype)
    check(pool[0], keys, dtype)  # rows that are not in ``slots`` included
    assert torch.equal(pool[1], values)
    if n > 1:
        for fault in ((qkv, angle.cos(), -angle.sin(), slots), (qkv, angle.sin(), angle.cos(), slots)):
            with pytest.raises(AssertionError):
                check(rope.rope(*fault, *pool), queries, dtype)
        rope.rope(qkv, angle.cos(), angle.sin(), slots.roll(1), *pool)
        with pytest.raises(AssertionError):  # rows written to each other's slots
            check(pool[0], keys, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "vocab"), [(0, 33), (1, 1), (3, 17), (2, 130), (2, 4129)])
def test_token_mask(dtype: torch.dtype, n: int, vocab: int, generator: torch.Generator) -> None:
    logits = normal(generator, dtype, n, vocab)
    allowed = torch.rand(n, vocab, generator=generator, device=generator.device) < 0.5
    words = token_mask.pack(allowed)
    expected = token_mask.reference(logits, words)
    assert torch.equal(expected.isneginf(), ~allowed)
    masked = logits.clone()
    token_mask.token_mask(masked, words)
    assert torch.equal(masked, expected)
    if n:
        wrong = words.clone()
        wrong[-1, -1] ^= 1 << ((vocab - 1) % 32) if (vocab - 1) % 32 < 31 else -(1 << 31)
        token_mask.token_mask(logits, wrong)
        assert not torch.equal(logits, expected)


def test_a_mask_of_another_vocabulary_raises(generator: torch.Generator) -> None:
    logits = normal(generator, torch.float32, 1, 65)
    with pytest.raises(ValueError, match="does not fit"):
        token_mask.token_mask(logits, torch.zeros(1, 2, dtype=torch.int32, device=logits.device))
