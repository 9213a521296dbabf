# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803  (compile-time constants of a kernel are capitals)
"""The 8 likeliest tokens of every row and their log-probabilities: greedy choice, and candidates for token recycling.

Shapes
    logits     [n, vocab]      fp16, bf16 or fp32
    ids        [n, 8]          int32, likeliest first, the lowest id first among equals; −1 where there is none
    log_probs  [n, 8]          fp32, over the whole row; −inf where there is none

Two launches: 8 of each chunk with the chunk's log-sum-exp, then 8 of those.
"""

from __future__ import annotations

import torch
from torch import Tensor

from holefill.kernels.jit import cdiv, jit, on_device_of, power_of_two, tl

TOP = 8
CHUNK = 2048
"""152 K tokens: 75 programs a row, 600 candidates for the second launch."""


def reference(logits: Tensor) -> tuple[Tensor, Tensor]:
    """By a stable sort, in fp64."""
    n = len(logits)
    log_probs = torch.log_softmax(logits.double(), dim=-1)
    order = torch.sort(logits.float(), dim=-1, descending=True, stable=True).indices[:, :TOP]
    best = log_probs.gather(1, order)
    ids = torch.full((n, TOP), -1, dtype=torch.int32, device=logits.device)
    found = torch.full((n, TOP), float("-inf"), dtype=torch.float64, device=logits.device)
    width = order.shape[1]
    ids[:, :width] = order.int().masked_fill(best.isneginf(), -1)
    found[:, :width] = best
    return ids, found


@jit
def _chunk_top_kernel(logits, values, ids, lses, vocab, COUNT: tl.constexpr, BLOCK: tl.constexpr):
    row, chunk, chunks = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    token = chunk * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(logits + row * vocab + token, mask=token < vocab, other=float("-inf")).to(tl.float32)
    peak = tl.max(x, 0)
    base = tl.where(peak == float("-inf"), 0.0, peak)
    tl.store(lses + row * chunks + chunk, base + tl.log(tl.sum(tl.exp(x - base), 0)))
    to = (row * chunks + chunk) * COUNT
    for rank in tl.static_range(COUNT):
        best = tl.max(x, 0)
        at = tl.min(tl.where(x == best, token, 2147483647), 0)
        tl.store(values + to + rank, best)
        tl.store(ids + to + rank, tl.where(best == float("-inf"), -1, at))
        x = tl.where(token == at, float("-inf"), x)


@jit
def _row_top_kernel(
    values, ids, lses, top_ids, log_probs, chunks, COUNT: tl.constexpr, BLOCK: tl.constexpr, BLOCK_CHUNKS: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    chunk = tl.arange(0, BLOCK_CHUNKS)
    part = tl.load(lses + row * chunks + chunk, mask=chunk < chunks, other=float("-inf"))
    peak = tl.max(part, 0)
    base = tl.where(peak == float("-inf"), 0.0, peak)
    lse = base + tl.log(tl.sum(tl.exp(part - base), 0))
    i = tl.arange(0, BLOCK)
    inside = i < chunks * COUNT
    x = tl.load(values + row * chunks * COUNT + i, mask=inside, other=float("-inf"))
    token = tl.load(ids + row * chunks * COUNT + i, mask=inside, other=-1)
    for rank in tl.static_range(COUNT):
        best = tl.max(x, 0)
        at = tl.min(tl.where((x == best) & (token >= 0), token, 2147483647), 0)
        none = best == float("-inf")
        tl.store(top_ids + row * COUNT + rank, tl.where(none, -1, at))
        tl.store(log_probs + row * COUNT + rank, tl.where(none, float("-inf"), best - lse))
        x = tl.where(token == at, float("-inf"), x)


def row_constants(vocab: int) -> dict[str, int]:
    chunks = cdiv(vocab, CHUNK)
    return {"COUNT": TOP, "BLOCK": power_of_two(chunks * TOP), "BLOCK_CHUNKS": power_of_two(chunks)}


def top(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(ids, log_probs); ``logits`` contiguous."""
    n, vocab = logits.shape
    chunks, device = cdiv(vocab, CHUNK), logits.device
    values = torch.empty((n, chunks, TOP), dtype=torch.float32, device=device)
    ids = torch.empty((n, chunks, TOP), dtype=torch.int32, device=device)
    lses = torch.empty((n, chunks), dtype=torch.float32, device=device)
    top_ids = torch.empty((n, TOP), dtype=torch.int32, device=device)
    log_probs = torch.empty((n, TOP), dtype=torch.float32, device=device)
    if n:
        with on_device_of(logits):
            _chunk_top_kernel[(n, chunks)](logits, values, ids, lses, vocab, COUNT=TOP, BLOCK=CHUNK)
            _row_top_kernel[(n,)](values, ids, lses, top_ids, log_probs, chunks, **row_constants(vocab))
    return top_ids, log_probs
