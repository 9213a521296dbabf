# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803  (compile-time constants of a kernel are capitals)
"""Rotary positions of queries and keys, and the new keys and values written to their pool rows, in one launch.

Shapes
    qkv      [n, (heads + 2 · kv_heads) · head_dim]  fp16, bf16 or fp32: queries, keys, values
    cos, sin [n, head_dim / 2]                       fp32, of each row's position
    slots    [n]                                     int64, the pool row of each new token
    keys     [pool rows, kv_heads, head_dim]         written at ``slots``; any strides but the last
    values   as keys
    queries  [n, heads, head_dim]                    returned, rotated

Half-split: dimension i turns with i + head_dim / 2 (Qwen2 and Llama as Hugging Face stores them).
"""

from __future__ import annotations

import torch
from torch import Tensor

from holefill.kernels.jit import jit, on_device_of, power_of_two, tl


def reference(
    qkv: Tensor, cos: Tensor, sin: Tensor, slots: Tensor, keys: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, and copies of ``keys`` and ``values`` after the write; turned in fp64, stored in the dtype."""
    kv_heads, head_dim = keys.shape[1:]
    rows = qkv.view(len(qkv), qkv.shape[1] // head_dim, head_dim)
    turned, plain = rows[:, :-kv_heads], rows[:, -kv_heads:]
    a, b = turned.double().chunk(2, dim=-1)
    c, s = cos.double()[:, None], sin.double()[:, None]
    turned = torch.cat((a * c - b * s, b * c + a * s), dim=-1).to(qkv.dtype)
    keys, values = keys.clone(), values.clone()
    keys[slots], values[slots] = turned[:, -kv_heads:], plain
    return turned[:, :-kv_heads], keys, values


@jit
def _rope_kernel(
    qkv,
    cos,
    sin,
    slots,
    keys,
    values,
    queries,
    key_stride,
    key_head_stride,
    value_stride,
    value_head_stride,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK_HEADS: tl.constexpr,
    BLOCK_HALF: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + token)
    head = tl.arange(0, BLOCK_HEADS)[:, None]
    i = tl.arange(0, BLOCK_HALF)[None, :]
    inside = (head < HEADS + 2 * KV_HEADS) & (i < HALF)
    from_row = qkv + token * ((HEADS + 2 * KV_HEADS) * 2 * HALF) + head * (2 * HALF) + i
    a = tl.load(from_row, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(from_row + HALF, mask=inside, other=0.0).to(tl.float32)
    c = tl.load(cos + token * HALF + i, mask=i < HALF, other=0.0)
    s = tl.load(sin + token * HALF + i, mask=i < HALF, other=0.0)
    turned_a, turned_b = (a * c - b * s).to(qkv.dtype.element_ty), (b * c + a * s).to(qkv.dtype.element_ty)
    is_query = inside & (head < HEADS)
    to_query = queries + token * (HEADS * 2 * HALF) + head * (2 * HALF) + i
    tl.store(to_query, turned_a, mask=is_query)
    tl.store(to_query + HALF, turned_b, mask=is_query)
    is_key = inside & (head >= HEADS) & (head < HEADS + KV_HEADS)
    to_key = keys + slot * key_stride + (head - HEADS) * key_head_stride + i
    tl.store(to_key, turned_a, mask=is_key)
    tl.store(to_key + HALF, turned_b, mask=is_key)
    is_value = inside & (head >= HEADS + KV_HEADS)
    to_value = values + slot * value_stride + (head - HEADS - KV_HEADS) * value_head_stride + i
    tl.store(to_value, a.to(qkv.dtype.element_ty), mask=is_value)
    tl.store(to_value + HALF, b.to(qkv.dtype.element_ty), mask=is_value)


def constants(heads: int, kv_heads: int, head_dim: int) -> dict[str, int]:
    return {
        "HEADS": heads,
        "KV_HEADS": kv_heads,
        "HALF": head_dim // 2,
        "BLOCK_HEADS": power_of_two(heads + 2 * kv_heads),
        "BLOCK_HALF": power_of_two(head_dim // 2),
    }


def rope(qkv: Tensor, cos: Tensor, sin: Tensor, slots: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Rotated queries; writes ``keys`` and ``values`` in place. ``qkv``, ``cos``, ``sin``, ``slots`` contiguous."""
    n, (kv_heads, head_dim) = len(qkv), keys.shape[1:]
    heads = qkv.shape[1] // head_dim - 2 * kv_heads
    queries = torch.empty((n, heads, head_dim), dtype=qkv.dtype, device=qkv.device)
    if n:
        with on_device_of(qkv):
            _rope_kernel[(n,)](
                qkv,
                cos,
                sin,
                slots,
                keys,
                values,
                queries,
                keys.stride(0),
                keys.stride(1),
                values.stride(0),
                values.stride(1),
                **constants(heads, kv_heads, head_dim),
            )
    return queries
