# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803  (compile-time constants of a kernel are capitals)
"""y = x / √(mean x² + eps) · weight, with the residual addition before it in the same pass.

Shapes
    x         [n, width]  fp16, bf16 or fp32
    residual  [n, width]  same dtype, or None
    weight    [width]     same dtype
    y         [n, width]  the normalised sum
    total     [n, width]  x + residual, rounded to the dtype before it is normalised; x itself without a residual
"""

from __future__ import annotations

import torch
from torch import Tensor

from holefill.kernels.jit import jit, on_device_of, power_of_two, tl


def reference(x: Tensor, residual: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """y in fp64, total in the dtype."""
    total = x if residual is None else x + residual
    wide = total.double()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps) * weight.double(), total


@jit
def _rms_norm_kernel(x, residual, weight, y, total, width, eps, ADD: tl.constexpr, BLOCK: tl.constexpr):
    column = tl.arange(0, BLOCK)
    inside = column < width
    at = tl.program_id(0).to(tl.int64) * width + column
    wide = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        wide += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
        rounded = wide.to(total.dtype.element_ty)
        tl.store(total + at, rounded, mask=inside)
        wide = rounded.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, 0) / width + eps)
    by = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + at, (wide * scale * by).to(y.dtype.element_ty), mask=inside)


def constants(width: int, residual: bool) -> dict[str, int | bool]:
    return {"ADD": residual, "BLOCK": power_of_two(width)}


def rms_norm(x: Tensor, residual: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(y, total); all contiguous."""
    n, width = x.shape
    y = torch.empty_like(x)
    total = x if residual is None else torch.empty_like(x)
    if n:
        with on_device_of(x):
            _rms_norm_kernel[(n,)](x, residual, weight, y, total, width, eps, **constants(width, residual is not None))
    return y, total
