# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803  (compile-time constants of a kernel are capitals)
"""Grouped-query attention of new tokens over one source of keys: shared prefix, private suffix, draft tree, prefill.

Shapes
    queries    [n, heads, head_dim]             fp16, bf16 or fp32; any strides but the last
    keys       [pool rows, kv_heads, head_dim]  same dtype; any strides but the last (the cache stores heads first)
    values     as keys
    ancestors  [n, words]                       int64, only for ``Visible.BITS``
    outs       [split, n, heads, head_dim]      fp32
    lses       [split, n, heads]                fp32

The heads of a group become rows beside the queries, row = query · group + head: one key load serves them all, and a
prefix shared by many queries is a matrix product (Hydragen). Keys are cut into splits of a fixed length so that one
long context fills the device (Flash-Decoding); each split is a part for ``partial.merge``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holefill.kernels.jit import cdiv, jit, on_device_of, power_of_two, tl
from holefill.kernels.partial import AttentionPartial, merge_stacked
from holefill.kernels.segments import WORD, Segments, Visible

LOG2_E = 1.4426950408889634
SPLIT_KEYS = 512
"""One sequence of 8 K keys and 2 KV heads: 32 programs a layer. Not yet tuned on a device."""
DECODE_ROWS, PREFILL_ROWS = 16, 64
"""Rows a program: 16 is the least of an MMA; 64 is a warp group's (wgmma on sm_90)."""


@dataclass(frozen=True, slots=True)
class Source:
    """One set of keys and who may see it."""

    keys: Tensor
    values: Tensor
    segments: Segments
    visible: Visible = Visible.ALL
    ancestors: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.visible is Visible.BITS) != (self.ancestors is not None):
            raise ValueError("ancestor words go with Visible.BITS, and only with it")
        if self.ancestors is not None and self.ancestors.shape[1] * WORD < self.segments.max_keys:
            raise ValueError(
                f"{self.ancestors.shape[1]} ancestor words hold no bit for key {self.segments.max_keys - 1}"
            )


def reference(queries: Tensor, source: Source, scale: float) -> AttentionPartial:
    """In fp64, segment by segment."""
    n, heads, head_dim = queries.shape
    kv_heads, segments = source.keys.shape[1], source.segments
    out = torch.zeros(n, heads, head_dim, dtype=torch.float64, device=queries.device)
    lse = torch.full((n, heads), float("-inf"), dtype=torch.float64, device=queries.device)
    query_start, key_start = segments.query_start.tolist(), segments.key_start.tolist()
    for s in range(segments.count):
        at = slice(query_start[s], query_start[s + 1])
        rows = torch.arange(key_start[s], key_start[s + 1], device=queries.device)
        rows = rows if segments.rows is None else segments.rows[rows].long()
        k, v = (x[rows].double().repeat_interleave(heads // kv_heads, dim=1) for x in (source.keys, source.values))
        scores = torch.einsum("qhd,khd->qhk", queries[at].double(), k) * scale
        scores.masked_fill_(~_sees(source, at, len(rows))[:, None], float("-inf"))
        lse[at] = torch.logsumexp(scores, dim=-1)
        weights = torch.exp(scores - lse[at][..., None]).nan_to_num(nan=0.0)  # a query that sees no key
        out[at] = torch.einsum("qhk,khd->qhd", weights, v)
    return AttentionPartial(out.float(), lse.float())


def _sees(source: Source, at: slice, keys: int) -> Tensor:
    """bool [queries of the segment, keys]."""
    queries, device = at.stop - at.start, source.keys.device
    key = torch.arange(keys, device=device)
    if source.visible is Visible.ALL:
        return torch.ones(queries, keys, dtype=torch.bool, device=device)
    if source.visible is Visible.CAUSAL:
        return torch.le(key[None], torch.arange(queries, device=device)[:, None] + keys - queries)
    assert source.ancestors is not None
    bits: Tensor = source.ancestors[at][:, key // WORD] >> (key % WORD)
    return (bits & 1).bool()


@jit
def _attend_kernel(
    queries,
    keys,
    values,
    query_start,
    key_start,
    pool_rows,
    ancestors,
    outs,
    lses,
    n,
    scale_log2,
    query_stride,
    query_head_stride,
    key_stride,
    key_head_stride,
    value_stride,
    value_head_stride,
    words,
    KV_HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    SPLIT: tl.constexpr,
    VISIBLE: tl.constexpr,
    INDEXED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    block, split = tl.program_id(0), tl.program_id(2)
    segment, kv_head = tl.program_id(1) // KV_HEADS, tl.program_id(1) % KV_HEADS
    first_query = tl.load(query_start + segment)
    count = tl.load(query_start + segment + 1) - first_query
    first_key = tl.load(key_start + segment)
    length = tl.load(key_start + segment + 1) - first_key
    if block * BLOCK_M >= count * GROUP:
        return
    row = block * BLOCK_M + tl.arange(0, BLOCK_M)
    valid = row < count * GROUP
    local = row // GROUP
    query = (first_query + local).to(tl.int64)
    head = kv_head * GROUP + row % GROUP
    column = tl.arange(0, BLOCK_D)
    inside = (column < HEAD_DIM)[None, :]
    q_at = query * query_stride + head * query_head_stride
    q = tl.load(queries + q_at[:, None] + column[None, :], mask=valid[:, None] & inside, other=0.0)

    begin, end = split * SPLIT, tl.minimum(split * SPLIT + SPLIT, length)
    if VISIBLE == 1:  # nobody in this block sees past its last query
        last = (block * BLOCK_M + BLOCK_M - 1) // GROUP
        end = tl.minimum(end, last + length - count + 1)
    peak = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    mixed = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for start in range(begin, end, BLOCK_N):
        key = start + tl.arange(0, BLOCK_N)
        exists = key < end
        pool_row = (first_key + key).to(tl.int64)
        if INDEXED:
            pool_row = tl.load(pool_rows + pool_row, mask=exists, other=0).to(tl.int64)
        k_at = pool_row * key_stride + kv_head * key_head_stride
        k = tl.load(
            keys + k_at[None, :] + column[:, None], mask=exists[None, :] & (column < HEAD_DIM)[:, None], other=0.0
        )
        scores = tl.dot(q, k, input_precision=PRECISION) * scale_log2
        seen = exists[None, :] & valid[:, None]
        if VISIBLE == 1:
            seen &= key[None, :] <= local[:, None] + length - count
        if VISIBLE == 2:  # BLOCK_N divides 64: one word holds the block's bits
            word = tl.load(ancestors + query * words + start // 64, mask=valid, other=0)
            seen &= ((word[:, None] >> (key % 64).to(tl.int64)[None, :]) & 1) != 0
        scores = tl.where(seen, scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1))
        base = tl.where(new_peak == float("-inf"), 0.0, new_peak)
        old = tl.exp2(peak - base)
        weights = tl.exp2(scores - base[:, None])
        total = total * old + tl.sum(weights, 1)
        v_at = pool_row * value_stride + kv_head * value_head_stride
        v = tl.load(values + v_at[:, None] + column[None, :], mask=exists[:, None] & inside, other=0.0)
        mixed = mixed * old[:, None] + tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
        peak = new_peak
    some = total > 0
    safe = tl.where(some, total, 1.0)
    to = (split * n + query) * (KV_HEADS * GROUP) + head
    tl.store(outs + to[:, None] * HEAD_DIM + column[None, :], mixed / safe[:, None], mask=valid[:, None] & inside)
    tl.store(lses + to, tl.where(some, (peak + tl.log2(safe)) / 1.4426950408889634, float("-inf")), mask=valid)


@dataclass(frozen=True, slots=True)
class Launch:
    """How one kernel is compiled: constants and the warps and stages of its pipeline."""

    constants: dict[str, int | bool | str]
    warps: int
    stages: int


def launch_for(
    dtype: torch.dtype, head_dim: int, kv_heads: int, group: int, rows: int, visible: Visible, indexed: bool
) -> Launch:
    """``rows`` = queries of a segment × group. What is compiled ahead of time in the tests is what runs."""
    block_m = DECODE_ROWS if rows <= DECODE_ROWS else PREFILL_ROWS
    wide = block_m == PREFILL_ROWS
    constants: dict[str, int | bool | str] = {
        "KV_HEADS": kv_heads,
        "GROUP": group,
        "HEAD_DIM": head_dim,
        "SPLIT": SPLIT_KEYS,
        "VISIBLE": int(visible),
        "INDEXED": indexed,
        "PRECISION": "ieee" if dtype is torch.float32 else "tf32",
        "BLOCK_M": block_m,
        "BLOCK_N": 64,
        "BLOCK_D": max(power_of_two(head_dim), 16),
    }
    # 64 rows at 4 warps spill in the tree kernel (255 registers); 8 warps do not. 3 stages of 64 × 128 keys and values
    # beside 64 rows would pass the 99 KiB of consumer cards.
    return Launch(constants, warps=8 if wide else 4, stages=2)


def splits(source: Source) -> int:
    return max(1, cdiv(source.segments.max_keys, SPLIT_KEYS))


def attend_into(queries: Tensor, source: Source, scale: float, outs: Tensor, lses: Tensor) -> None:
    """One launch into ``outs`` [splits(source), n, heads, head_dim] and ``lses``; every query belongs to a segment."""
    n, heads, head_dim = queries.shape
    kv_heads, segments = source.keys.shape[1], source.segments
    if heads % kv_heads or {queries.dtype, source.keys.dtype, source.values.dtype} != {queries.dtype}:
        raise ValueError(f"{heads} heads of {queries.dtype} do not fit {kv_heads} KV heads of {source.keys.dtype}")
    if queries.stride(-1) != 1 or source.keys.stride(-1) != 1 or source.values.stride(-1) != 1:
        raise ValueError("the last dimension must be contiguous: pass .contiguous() queries, keys and values")
    group = heads // kv_heads
    rows = segments.max_queries * group
    launch = launch_for(queries.dtype, head_dim, kv_heads, group, rows, source.visible, segments.rows is not None)
    grid = (cdiv(rows, int(launch.constants["BLOCK_M"])), segments.count * kv_heads, splits(source))
    if grid[0] == 0:
        return
    with on_device_of(queries):
        _attend_kernel[grid](
            queries,
            source.keys,
            source.values,
            segments.query_start,
            segments.key_start,
            segments.rows,
            source.ancestors,
            outs,
            lses,
            n,
            scale * LOG2_E,
            queries.stride(0),
            queries.stride(1),
            source.keys.stride(0),
            source.keys.stride(1),
            source.values.stride(0),
            source.values.stride(1),
            0 if source.ancestors is None else source.ancestors.stride(0),
            **launch.constants,
            num_warps=launch.warps,
            num_stages=launch.stages,
        )


def attend_all(queries: Tensor, sources: Sequence[Source], scale: float) -> AttentionPartial:
    """Attention over the union of the sources, ``out`` in the queries' dtype: one launch a source and one merge."""
    n, heads, head_dim = queries.shape
    counts = [splits(source) for source in sources]
    outs = torch.empty((sum(counts), n, heads, head_dim), dtype=torch.float32, device=queries.device)
    lses = torch.empty((sum(counts), n, heads), dtype=torch.float32, device=queries.device)
    at = 0
    for source, count in zip(sources, counts, strict=True):
        attend_into(queries, source, scale, outs[at : at + count], lses[at : at + count])
        at += count
    return merge_stacked(outs, lses, queries.dtype)


def attend(queries: Tensor, source: Source, scale: float) -> AttentionPartial:
    """Attention over one source, in fp32, for a later ``merge``."""
    n, heads, head_dim = queries.shape
    outs = torch.empty((splits(source), n, heads, head_dim), dtype=torch.float32, device=queries.device)
    lses = torch.empty((splits(source), n, heads), dtype=torch.float32, device=queries.device)
    attend_into(queries, source, scale, outs, lses)
    return merge_stacked(outs, lses) if len(outs) > 1 else AttentionPartial(outs[0], lses[0])
