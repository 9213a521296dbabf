# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803  (compile-time constants of a kernel are capitals)
"""y = silu(gate) · up of a stacked projection.

Shapes
    both  [n, 2 · width]  gate columns, then up columns; fp16, bf16 or fp32
    y     [n, width]      same dtype
"""

from __future__ import annotations

import torch
from torch import Tensor

from holefill.kernels.jit import cdiv, jit, on_device_of, tl

BLOCK = 1024


def reference(both: Tensor) -> Tensor:
    """In fp64."""
    gate, up = both.double().chunk(2, dim=-1)
    return gate * torch.sigmoid(gate) * up


@jit
def _swiglu_kernel(both, y, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    gate = tl.load(both + row * 2 * width + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(both + row * 2 * width + width + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row * width + column, (gate * tl.sigmoid(gate) * up).to(y.dtype.element_ty), mask=inside)


def swiglu(both: Tensor) -> Tensor:
    """``both`` contiguous."""
    n, width = both.shape[0], both.shape[1] // 2
    y = torch.empty((n, width), dtype=both.dtype, device=both.device)
    if n:
        with on_device_of(both):
            _swiglu_kernel[(n, cdiv(width, BLOCK))](both, y, width, BLOCK=BLOCK)
    return y
