# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803  (compile-time constants of a kernel are capitals)
"""The one way to combine attention over several sets of keys: (out, lse) of each part, merged by their lse.

Shapes
    outs  [part, n, heads, head_dim]  fp32, softmax(scores of the part) · values; 0 for an empty part
    lses  [part, n, heads]            fp32, log Σ exp(scores of the part); −inf for an empty part
    out   [n, heads, head_dim]        attention over the union of the parts
    lse   [n, heads]                  its log-sum-exp

Hydragen (arXiv 2402.05099), §3.2: with m = max lseᵢ and wᵢ = exp(lseᵢ − m), out = Σ wᵢ outᵢ / Σ wᵢ and
lse = m + log Σ wᵢ. Associative and commutative, so levels of shared prefixes, splits of one prefix and a draft tree
are all parts alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holefill.kernels.jit import cdiv, jit, on_device_of, power_of_two, tl

ROWS = 8
"""(query, head) pairs a program: 8 × 128 fp32 is 8 registers a thread at 4 warps."""


@dataclass(frozen=True, slots=True)
class AttentionPartial:
    """Attention over some of the keys: out [n, heads, head_dim] and lse [n, heads]."""

    out: Tensor
    lse: Tensor


def empty_partial(queries: Tensor) -> AttentionPartial:
    """Attention of ``queries`` [n, heads, head_dim] over no keys: the neutral element of ``merge``."""
    out = torch.zeros(queries.shape, dtype=torch.float32, device=queries.device)
    return AttentionPartial(out, torch.full(queries.shape[:2], float("-inf"), device=queries.device))


def stack(parts: Sequence[AttentionPartial]) -> tuple[Tensor, Tensor]:
    """outs and lses; raises ValueError for no parts (their shape is unknown: pass ``empty_partial``)."""
    if not parts:
        raise ValueError("merge needs at least one part; pass empty_partial(queries) for attention over nothing")
    return torch.stack([part.out for part in parts]).float(), torch.stack([part.lse for part in parts]).float()


def reference(outs: Tensor, lses: Tensor, dtype: torch.dtype = torch.float32) -> AttentionPartial:
    """In fp64. A (query, head) that no part sees gets out = 0 and lse = −inf."""
    lse = torch.logsumexp(lses.double(), dim=0)
    weights = torch.exp(lses.double() - lse).nan_to_num(nan=0.0)  # −inf − (−inf)
    return AttentionPartial((outs.double() * weights[..., None]).sum(0).to(dtype), lse.float())


@jit
def _merge_kernel(
    outs, lses, out, lse, parts, rows, HEAD_DIM: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr
):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column = tl.arange(0, BLOCK_D)
    valid = row < rows
    inside = valid[:, None] & (column < HEAD_DIM)[None, :]
    peak = tl.full([BLOCK], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    mixed = tl.zeros([BLOCK, BLOCK_D], tl.float32)
    for part in range(parts):
        from_row = (part * rows + row).to(tl.int64)
        part_lse = tl.load(lses + from_row, mask=valid, other=float("-inf"))
        part_out = tl.load(outs + from_row[:, None] * HEAD_DIM + column[None, :], mask=inside, other=0.0)
        new_peak = tl.maximum(peak, part_lse)
        base = tl.where(new_peak == float("-inf"), 0.0, new_peak)
        old = tl.exp(peak - base)
        weight = tl.exp(part_lse - base)
        total = total * old + weight
        mixed = mixed * old[:, None] + part_out * weight[:, None]
        peak = new_peak
    seen = total > 0
    safe = tl.where(seen, total, 1.0)
    at = row.to(tl.int64)[:, None] * HEAD_DIM + column[None, :]
    tl.store(out + at, (mixed / safe[:, None]).to(out.dtype.element_ty), mask=inside)
    tl.store(lse + row, tl.where(seen, peak + tl.log(safe), float("-inf")), mask=valid)


def merge_stacked(outs: Tensor, lses: Tensor, dtype: torch.dtype = torch.float32) -> AttentionPartial:
    """One launch; ``out`` in ``dtype``. Both inputs fp32 and contiguous."""
    parts, n, heads, head_dim = outs.shape
    out = torch.empty((n, heads, head_dim), dtype=dtype, device=outs.device)
    lse = torch.empty((n, heads), dtype=torch.float32, device=outs.device)
    rows = n * heads
    if rows == 0:
        return AttentionPartial(out, lse)
    with on_device_of(outs):
        _merge_kernel[(cdiv(rows, ROWS),)](outs, lses, out, lse, parts, rows, **merge_constants(head_dim))
    return AttentionPartial(out, lse)


def merge_constants(head_dim: int) -> dict[str, int]:
    return {"HEAD_DIM": head_dim, "BLOCK": ROWS, "BLOCK_D": power_of_two(head_dim)}


def merge(parts: Sequence[AttentionPartial], dtype: torch.dtype = torch.float32) -> AttentionPartial:
    """Attention over the union of the parts' keys, on the GPU."""
    return merge_stacked(*stack(parts), dtype)
