"""y = x Wᵀ (+ b) over int8 weights: the one linear layer of the CPU path.

Shapes
    x       [n, in]      float
    codes   [out, in]    int8    turn(W) ≈ codes · scales[:, None]
    scales  [out]        float32, one per output row
    y       [n, out]     float32 (of x's dtype for an unquantised weight)

Activations get one dynamic scale per ROW, never per tensor: the result of a row must not depend on which other rows
share the forward, or tree verification would not be lossless.

One scale for a whole row is coarse where a few inputs are 100 times the others, as in this model family. So W and x are
both turned by the same orthogonal matrix, which spreads an input over all of them and leaves x Wᵀ as it was (QuaRot,
arXiv 2404.00456): 0.5B, 2,048 positions: KL 0.0112 → 0.0011 (LOG.md).
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.kernels.group_codes import CodesStack
from holefill.kernels.grouped_linear import GroupedStack, coarse, refined_linear, stacked_linear

log = logging.getLogger(__name__)

CODE_MAX = 127
BLOCK_ROWS = 4096
ZERO_POINT = 128  # of unsigned activations: u8 = s8 + 128
SHORTEST_FACTOR, LONGEST_FACTOR = 8, 128
"""Of a turn: MKL adds up to 192 terms in order whatever the number of rows, unless that is one."""


@dataclass(frozen=True, slots=True)
class RowQuantized:
    """Symmetric int8 codes with one scale per output row, of a weight whose inputs were turned where ``turned``."""

    codes: Tensor
    scales: Tensor
    turned: bool = True

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1]

    def dequantize(self) -> Tensor:
        return self._back(self.codes.float() * self.scales[:, None])

    def rows(self, ids: Tensor) -> Tensor:
        """Only the rows asked for, in fp32 [len(ids), in]: an embedding lookup."""
        return self._back(self.codes[ids].float() * self.scales[ids, None])

    def _back(self, rows: Tensor) -> Tensor:
        return turn_back(rows) if self.turned else rows


Weight = Tensor | RowQuantized | GroupedStack | CodesStack
LinearFunction = Callable[[Tensor], Tensor]


@functools.cache
def _cosines(size: int) -> Tensor:
    """The orthonormal cosine transform [size, size]: no entry is large, so a single input reaches every output."""
    frequencies, places = torch.arange(size).double()[None], torch.arange(size).double()[:, None]
    table = torch.cos(torch.pi / size * (places + 0.5) * frequencies) * (2 / size) ** 0.5
    table[:, 0] *= 0.5**0.5
    entries: Tensor = table.float()
    return entries


def _factors(size: int) -> tuple[int, int]:
    """size = a · b, nearly square: turning by both factors costs (a + b) products an input instead of ``size``."""
    a = max(a for a in range(1, math.isqrt(size) + 1) if size % a == 0)
    return a, size // a


def can_turn(size: int) -> bool:
    short, long = _factors(size)
    return short >= SHORTEST_FACTOR and long <= LONGEST_FACTOR


def turn(x: Tensor) -> Tensor:
    """x [n, in] times an orthogonal matrix (and a permutation); ``can_turn`` says for which sizes."""
    a, b = _factors(x.shape[1])
    rows = torch.mm(x.reshape(-1, b), _cosines(b)).view(-1, a, b).transpose(1, 2)
    return torch.mm(rows.reshape(-1, a), _cosines(a)).view(x.shape)


def turn_back(x: Tensor) -> Tensor:
    """The inverse of ``turn``."""
    a, b = _factors(x.shape[1])
    rows = torch.mm(x.reshape(-1, a), _cosines(a).T).view(-1, b, a).transpose(1, 2)
    return torch.mm(rows.reshape(-1, b), _cosines(b).T).view(x.shape)


def quantize_rows(weight: Tensor) -> RowQuantized:
    """Round to nearest, symmetric, the largest magnitude of each turned row at ±127. A zero row gets scale 1."""
    turned = can_turn(weight.shape[1])
    codes, scales = torch.empty(weight.shape, dtype=torch.int8), torch.empty(len(weight))
    for start in range(0, len(weight), BLOCK_ROWS):  # an embedding in one piece would take 1 GB of temporaries
        block = slice(start, start + BLOCK_ROWS)
        rows = turn(weight[block].float()) if turned else weight[block].float()
        peak = rows.abs().amax(dim=1)
        scales[block] = torch.where(peak > 0, peak / CODE_MAX, torch.ones_like(peak))
        codes[block] = torch.round(rows / scales[block, None])
    return RowQuantized(codes, scales, turned)


def reference(x: Tensor, weight: Weight) -> Tensor:
    """The oracle: fp32 product with the dequantised codes; activations are not rounded."""
    return F.linear(x, weight if isinstance(weight, Tensor) else weight.dequantize())


def rounding_bound(x: Tensor, weight: RowQuantized) -> Tensor:
    """Largest |y − reference| that rounding x to 8 bits may cause: half a step per input, times Σ|W| of the row."""
    inputs = turn(x) if weight.turned else x
    half_step = inputs.abs().amax(dim=1) / CODE_MAX / 2
    return half_step[:, None] * (weight.codes.float().abs().sum(dim=1) * weight.scales) * (1 + 1e-3)


def prepare_reference(weight: Weight) -> LinearFunction:
    dense = weight if isinstance(weight, Tensor) else weight.dequantize()
    if isinstance(weight, CodesStack):  # the only quantised form that meets 16-bit activations
        return lambda x: F.linear(x.float(), dense).to(x.dtype)
    return lambda x: F.linear(x, dense)


def prepare_torch(weight: Weight) -> LinearFunction:
    """oneDNN W8A8 with exact int32 sums. Copies the codes into oneDNN's layout; the caller may drop its own."""
    if not isinstance(weight, RowQuantized) or not int8_is_exact():
        return prepare_reference(weight)
    return _prepack(weight)


def prepare_native(weight: Weight) -> LinearFunction:
    """Group-quantised codes on the compiled kernels; computes on the caller's memory. Others: as ``torch`` does."""
    if not isinstance(weight, GroupedStack):
        return prepare_torch(weight)
    return lambda x: stacked_linear(x, weight)


def prepare_native_refined(weight: Weight) -> LinearFunction:
    """For a head: the largest outputs of each row as 16-bit activations give them, the others from 8 bits.

    Of 8-bit weights those others come from a copy of 5 bits: a third of what a one-token step of the 0.5B reads is its
    head. KL 0.00002 → 0.0006 on the head's own account, no top-1 lost (LOG.md).
    """
    if not isinstance(weight, GroupedStack):
        return prepare_torch(weight)
    first = GroupedStack(tuple(coarse(part) or part for part in weight.parts))
    return lambda x: refined_linear(x, weight, first)


# A back end is one row: how it turns a weight into a function of x.
BACKENDS: Mapping[str, Callable[[Weight], LinearFunction]] = {
    "reference": prepare_reference,
    "torch": prepare_torch,
    "native": prepare_native,
    "native-refined": prepare_native_refined,
}


class QuantLinear:
    """One linear layer; the weight is prepared once, by the back end named."""

    __slots__ = ("_bias", "_function", "shape")

    def __init__(self, weight: Weight, bias: Tensor | None = None, *, backend: str = "torch") -> None:
        self.shape = (weight.shape[0], weight.shape[1])
        self._bias = bias
        self._function = BACKENDS[backend](weight)

    def __call__(self, x: Tensor) -> Tensor:
        y = self._function(x)
        return y if self._bias is None else y.add_(self._bias)


def _prepack(weight: RowQuantized) -> LinearFunction:
    # u8 activations around zero point 128 and not s8: on CPUs with VNNI but no AMX (Zen 5 here) oneDNN has no s8·s8
    # kernel and falls to `ref_int8`: 138 ms instead of 0.9 ms for 896 → 9728 at n = 1. The sums are the same integers.
    op = torch.ops.onednn.qlinear_pointwise.default
    packed = torch.ops.onednn.qlinear_prepack(weight.codes, None)
    scales, turned = weight.scales.clone(), weight.turned
    zero_points = torch.zeros(weight.shape[0], dtype=torch.int32)

    def linear(x: Tensor) -> Tensor:
        if turned:
            x = turn(x)
        step = x.abs().amax(dim=1, keepdim=True).clamp_min_(1e-30).mul_(1 / CODE_MAX)
        codes = x.div(step).round_().add_(ZERO_POINT).to(torch.uint8)
        y: Tensor = op(
            codes, 1.0, ZERO_POINT, packed, scales, zero_points, None, 1.0, 0, torch.float32, "none", [], ""
        )  # x_scale, x_zero_point, weight, bias, output scale and zero point, post operation
        return y.mul_(step)

    return linear


@functools.cache
def int8_is_exact() -> bool:
    """Whether u8·s8 products are summed without saturating pairs at 16 bits (old AVX2 does); if not, fp32 is used."""
    worst = torch.full((16, 256), CODE_MAX, dtype=torch.int8)
    try:
        sums = _prepack(RowQuantized(worst, torch.ones(16), turned=False))(torch.ones(1, 256))
    except RuntimeError as error:
        log.warning("no int8 linear layers in this build of torch, using fp32: %s", error)
        return False
    exact = bool(torch.allclose(sums, torch.full_like(sums, 256.0 * CODE_MAX), rtol=1e-5))
    if not exact:
        log.warning("this CPU saturates int8 products, using fp32 linear layers")
    return exact
