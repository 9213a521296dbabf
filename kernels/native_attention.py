"""Softmax attention over cached rows whose result for a row does not depend on the rows that share the forward.

Shapes
    q       [n, heads, dim]             float32; rows may be strided
    keys    [kv_heads, pool rows, dim]  float32 or float16; heads may be strided
    values  like keys
    rows    [total]                     int32, each key's pool row, the last n are the new ones; None: key j is row j
    hidden  [n, n]                      bool, hidden[i, j]: new row i does not see new row j; None is causal
    out     [n, heads, dim]             float32

Query head h reads KV head h // (heads / kv_heads). A hidden key adds exact zeros and sums run key by key, so a row of a
draft tree equals the same row decoded alone, bit for bit, wherever in the pool its keys lie: what makes greedy
speculation and shared prefixes lossless. The torch products do not promise that (their blocking depends on n).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import torch
from torch import Tensor

from holefill.kernels.library import library, threads

HEAD_SIZES = frozenset({32, 64, 80, 96, 128})
"""What the library is compiled for."""


def reference(
    q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None, scale: float, rows: Tensor | None = None
) -> Tensor:
    if rows is not None:
        keys, values = keys[:, rows], values[:, rows]
    keys, values = keys.to(q.dtype), values.to(q.dtype)
    n, heads, dim = q.shape
    kv_heads, total, _ = keys.shape
    # The heads that share a KV head become rows of one product: [kv_head, group · n, dim].
    grouped = q.mul(scale).transpose(0, 1).reshape(kv_heads, -1, dim)
    scores = torch.matmul(grouped, keys.transpose(1, 2))
    if hidden is None and n > 1:
        hidden = torch.ones(n, n, dtype=torch.bool, device=q.device).triu_(1)
    if hidden is not None:
        scores.view(heads, n, total)[..., -n:].masked_fill_(hidden, float("-inf"))
    out = torch.matmul(scores.softmax(dim=-1), values)
    return out.view(heads, n, dim).transpose(0, 1)


def native_attention(
    q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None, scale: float, rows: Tensor | None = None
) -> Tensor:
    """The native kernel. Raises ValueError for a wrong shape or dtype; ask ``supports`` first."""
    n, heads, dim = q.shape
    kv_heads, pool, _ = keys.shape
    rows = torch.arange(pool, dtype=torch.int32) if rows is None else rows
    total = len(rows)
    kernel = _kernel()
    if kernel is None or dim not in HEAD_SIZES:
        raise ValueError(f"no native attention here for heads of size {dim}: use reference()")
    check_rows(rows, pool)
    if heads % kv_heads or keys.shape != (kv_heads, pool, dim) or values.shape != keys.shape or total < n:
        raise ValueError(f"q {tuple(q.shape)}, keys {tuple(keys.shape)} and values {tuple(values.shape)} do not fit")
    half = check_cache(keys, values)
    if q.dtype != torch.float32 or q.device.type != "cpu":
        raise ValueError(f"attention on the CPU takes queries in float32, not {q.dtype} on {q.device}")
    if keys.stride() != values.stride() or keys.stride()[1:] != (dim, 1) or q.stride()[1:] != (dim, 1):
        raise ValueError("rows of q, keys and values must be dense")
    if hidden is not None and (hidden.dtype != torch.bool or hidden.shape != (n, n)):
        raise ValueError(f"hidden must be bool [{n}, {n}], not {hidden.dtype} {tuple(hidden.shape)}")
    mask = None if hidden is None else hidden.contiguous()
    out = torch.empty(n, heads, dim)
    status = kernel(
        *(q.data_ptr(), q.stride(0), keys.data_ptr(), values.data_ptr(), half, keys.stride(0), rows.data_ptr()),
        *(0 if mask is None else mask.data_ptr(), out.data_ptr(), n, heads, kv_heads, total, dim, scale, threads()),
    )
    assert status == 0, f"head size {dim} is not compiled"
    return out


def check_cache(keys: Tensor, values: Tensor) -> bool:
    """Whether they are fp16. Raises ValueError where they are neither fp16 nor fp32."""
    if keys.dtype not in (torch.float16, torch.float32) or values.dtype != keys.dtype:
        raise ValueError(f"keys and values must both be float16 or float32, not {keys.dtype} and {values.dtype}")
    return keys.dtype == torch.float16


def check_rows(rows: Tensor, pool: int) -> None:
    """Raises ValueError for a table of rows that the kernels could not read, or that leads out of the pool."""
    if rows.dtype != torch.int32 or rows.dim() != 1 or not rows.is_contiguous() or rows.is_cuda:
        raise ValueError(f"rows must be dense int32 [keys] on the CPU, not {rows.dtype} {tuple(rows.shape)}")
    if len(rows):
        least, most = (int(row) for row in rows.aminmax())
        if not 0 <= least <= most < pool:
            raise ValueError(f"rows {least} … {most} do not fit a pool of {pool}")


def supports(head_dim: int) -> bool:
    """Whether the native kernel runs here: built, AVX512, and compiled for this head size."""
    return head_dim in HEAD_SIZES and _kernel() is not None


@functools.cache
def _kernel() -> Callable[..., int] | None:
    native = library()
    if native is None or not native.holefill_attention_supported():
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    kernel = native.holefill_attention
    kernel.argtypes = [
        *(pointer, number, pointer, pointer, ctypes.c_int, number, pointer, pointer, pointer),
        *(number, number, number, number, number, ctypes.c_float, ctypes.c_int),
    ]
    run: Callable[..., int] = kernel
    return run
