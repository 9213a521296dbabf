# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803  (compile-time constants of a kernel are capitals)
"""One token of every row, drawn from its tempered, cut distribution by inverse CDF. Greedy rows: ``kernels.top``.

Shapes
    logits       [n, vocab]  fp16, bf16 or fp32
    temperature  [n]         fp32, > 0
    top_k        [n]         int32, ≥ 1; the vocabulary's size keeps all
    top_p        [n]         fp32, in (0, 1]; 1 keeps all
    uniform      [n]         fp32, in [0, 1): the caller's randomness, so that a seed gives the same text anywhere
    ids          [n]         int64

Kept are the ``top_k`` likeliest tokens, and of those the likeliest until they hold ``top_p`` of their probability;
tokens equal to the last one kept are kept too, so that no order among equals matters.
The drawn token is the first, by id, at which the kept probability passes ``uniform`` of its sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from holefill.kernels.jit import jit, on_device_of, tl

BLOCK = 4096


def reference(logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, uniform: Tensor) -> Tensor:
    """In fp64, by sorting."""
    ids = torch.empty(len(logits), dtype=torch.int64, device=logits.device)
    for row in range(len(logits)):
        probs = kept_probabilities(logits[row], float(temperature[row]), int(top_k[row]), float(top_p[row]))
        cumulative = probs.cumsum(0)
        ids[row] = int((cumulative > float(uniform[row]) * cumulative[-1]).nonzero()[0])
    return ids


def kept_probabilities(logits: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
    """[vocab] → fp64 probabilities of the cut distribution, summing to 1."""
    probs = torch.softmax(logits.double() / temperature, dim=-1)
    ordered = probs.sort(descending=True).values
    probs = torch.where(probs >= ordered[min(top_k, len(probs)) - 1], probs, 0.0)
    ordered = probs.sort(descending=True).values
    enough = ordered.cumsum(0) >= top_p * probs.sum()
    last = int(enough.nonzero()[0]) if top_p < 1 else len(probs) - 1
    kept = torch.where(probs >= ordered[last], probs, 0.0)
    return kept / kept.sum()


@jit
def _ordered(x):
    """Floats as integers of the same order: −0 and 0 stay apart, which moves no token by more than that."""
    bits = x.to(tl.int32, bitcast=True)
    return tl.where(bits >= 0, bits, bits ^ 0x7FFFFFFF)


@jit
def _mass(at, vocab, best, inverse, least, BLOCK: tl.constexpr):
    """Σ exp of the row's logits whose integers are at least ``least``, relative to the best."""
    i = tl.arange(0, BLOCK)
    sums = tl.zeros([BLOCK], tl.float32)
    for start in range(0, vocab, BLOCK):
        x = tl.load(at + start + i, mask=start + i < vocab, other=float("-inf")).to(tl.float32)
        sums += tl.where(_ordered(x) >= least, tl.exp((x - best) * inverse), 0.0)
    return tl.sum(sums, 0)


@jit
def _sample_kernel(logits, temperature, top_k, top_p, uniform, ids, vocab, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = logits + row * vocab
    inverse = 1.0 / tl.load(temperature + row)
    i = tl.arange(0, BLOCK)
    peak = tl.full([BLOCK], float("-inf"), tl.float32)
    for start in range(0, vocab, BLOCK):
        x = tl.load(at + start + i, mask=start + i < vocab, other=float("-inf")).to(tl.float32)
        peak = tl.maximum(peak, x)
    best = tl.max(peak, 0)

    # Twice the largest value that, with all above it, is enough: by halving between the least and the largest integer.
    low = _ordered(tl.full([], float("-inf"), tl.float32)).to(tl.int64)
    high = _ordered(best).to(tl.int64)
    enough_count = tl.load(top_k + row)
    for _ in range(tl.where(enough_count < vocab, 32, 0)):
        middle = (low + high + 1) >> 1
        counts = tl.zeros([BLOCK], tl.int32)
        for start in range(0, vocab, BLOCK):
            x = tl.load(at + start + i, mask=start + i < vocab, other=float("-inf")).to(tl.float32)
            counts += ((_ordered(x) >= middle) & (start + i < vocab)).to(tl.int32)
        enough = tl.sum(counts, 0) >= enough_count
        low = tl.where(enough, middle, low)
        high = tl.where(enough, high, middle - 1)
    kept = _mass(at, vocab, best, inverse, low, BLOCK)
    share = tl.load(top_p + row)
    enough_mass = share * kept
    high = _ordered(best).to(tl.int64)
    for _ in range(tl.where(share < 1.0, 32, 0)):
        middle = (low + high + 1) >> 1
        mass = _mass(at, vocab, best, inverse, middle, BLOCK)
        low = tl.where(mass >= enough_mass, middle, low)
        kept = tl.where(mass >= enough_mass, mass, kept)
        high = tl.where(mass >= enough_mass, high, middle - 1)
    target = tl.load(uniform + row) * kept
    before = 0.0
    chosen = vocab
    last = 0
    for start in range(0, vocab, BLOCK):
        x = tl.load(at + start + i, mask=start + i < vocab, other=float("-inf")).to(tl.float32)
        weight = tl.where(_ordered(x) >= low, tl.exp((x - best) * inverse), 0.0)
        passed = (before + tl.cumsum(weight, 0) > target) & (weight > 0)
        chosen = tl.minimum(chosen, tl.min(tl.where(passed, start + i, vocab), 0))
        last = tl.maximum(last, tl.max(tl.where(weight > 0, start + i, 0), 0))
        before += tl.sum(weight, 0)
    tl.store(ids + row, tl.minimum(chosen, last).to(tl.int64))  # rounding may leave the sum short of the target


def sample(logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, uniform: Tensor) -> Tensor:
    """One launch, one program a row; 32 passes over its logits for each cut that is on, served by the L2 cache."""
    n, vocab = logits.shape
    ids = torch.empty(n, dtype=torch.int64, device=logits.device)
    if n:
        with on_device_of(logits):
            _sample_kernel[(n,)](logits, temperature, top_k, top_p, uniform, ids, vocab, BLOCK=BLOCK)
    return ids
