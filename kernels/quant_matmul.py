# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803  (compile-time constants of a kernel are capitals)
"""y = x Wᵀ (+ b) over group-quantised weights of 4 or 8 bits, widened in registers: the linear layer on a GPU.

Shapes
    x       [n, in]   fp16, bf16 or fp32
    weight  [out, in] ``kernels.group_codes``
    bias    [out]     x's dtype, or None
    y       [n, out]  x's dtype or fp32; rows may be strided

Sums are fp32 and run over the inputs in one order for every row, so a row does not depend on the rows beside it as long
as n stays in one block of rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from holefill.kernels.group_codes import RUN, CodesStack, GroupCodes
from holefill.kernels.jit import cdiv, jit, on_device_of, tl

OUTPUTS = 32
"""Outputs a program. Not yet tuned on a device."""


def reference(x: Tensor, weight: GroupCodes, bias: Tensor | None = None) -> Tensor:
    """In fp64."""
    y = x.double() @ weight.dequantize().T
    return y if bias is None else y + bias.double()


@jit
def _widen(codes, scales, mins, at, inside, LOW: tl.constexpr):
    """Codes [k, out] to weights in fp32; ``at`` are the group's indices."""
    scale = tl.load(scales + at, mask=inside, other=0.0).to(tl.float32)
    if LOW == 0:
        return codes.to(tl.float32) * scale + tl.load(mins + at, mask=inside, other=0.0).to(tl.float32)
    return (codes.to(tl.float32) - LOW) * scale


@jit
def _quant_matmul_kernel(
    x,
    codes,
    scales,
    mins,
    bias,
    y,
    n,
    outputs,
    size,
    y_stride,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    LOW: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    row = (tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    output = (tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    i = tl.arange(0, HALF)
    is_row, is_output = (row < n)[:, None], (output < outputs)[None, :]
    from_row = x + row[:, None] * size + i[None, :]
    groups = size // GROUP
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for start in range(0, size, 2 * HALF):
        at = output[None, :] * groups + (start + i)[:, None] // GROUP
        at_high = output[None, :] * groups + (start + HALF + i)[:, None] // GROUP
        if BITS == 4:
            both = tl.load(codes + output[None, :] * (size // 2) + start // 2 + i[:, None], mask=is_output, other=0)
            low, high = both & 15, both >> 4
        else:
            from_output = codes + output[None, :] * size + start + i[:, None]
            low = tl.load(from_output, mask=is_output, other=0)
            high = tl.load(from_output + HALF, mask=is_output, other=0)
        x_low = tl.load(from_row + start, mask=is_row, other=0.0)
        x_high = tl.load(from_row + start + HALF, mask=is_row, other=0.0)
        w_low = _widen(low, scales, mins, at, is_output, LOW).to(x.dtype.element_ty)
        w_high = _widen(high, scales, mins, at_high, is_output, LOW).to(x.dtype.element_ty)
        total = tl.dot(x_low, w_low, total, input_precision=PRECISION)
        total = tl.dot(x_high, w_high, total, input_precision=PRECISION)
    if HAS_BIAS:
        total += tl.load(bias + output, mask=output < outputs, other=0.0).to(tl.float32)[None, :]
    tl.store(y + row[:, None] * y_stride + output[None, :], total.to(y.dtype.element_ty), mask=is_row & is_output)


def constants(
    dtype: torch.dtype, n: int, bits: int, group: int, *, affine: bool, bias: bool
) -> dict[str, int | bool | str]:
    return {
        "BITS": bits,
        "GROUP": group,
        "LOW": 0 if affine else 1 << (bits - 1),
        "HAS_BIAS": bias,
        "PRECISION": "ieee" if dtype is torch.float32 else "tf32",
        "HALF": RUN // 2,
        "BLOCK_M": 16 if n <= 16 else 64,
        "BLOCK_N": OUTPUTS,
    }


def quant_matmul(x: Tensor, weight: GroupCodes, bias: Tensor | None = None, y: Tensor | None = None) -> Tensor:
    """``x`` contiguous; writes ``y`` where it is given. Raises ValueError where it does not fit the weight."""
    (n, width), (outputs, size) = x.shape, weight.shape
    if width != size or not x.is_contiguous():
        raise ValueError(f"x must be contiguous [n, {size}], not {tuple(x.shape)} with strides {x.stride()}")
    if y is None:
        y = torch.empty((n, outputs), dtype=x.dtype, device=x.device)
    if y.shape != (n, outputs) or y.stride(1) != 1:
        raise ValueError(f"y must have dense rows of {outputs}, not {tuple(y.shape)} with strides {y.stride()}")
    if n == 0:
        return y
    constant = constants(x.dtype, n, weight.bits, weight.group, affine=weight.mins is not None, bias=bias is not None)
    grid = (cdiv(outputs, OUTPUTS), cdiv(n, int(constant["BLOCK_M"])))
    with on_device_of(x):
        _quant_matmul_kernel[grid](
            x, weight.codes, weight.scales, weight.mins, bias, y, n, outputs, size, y.stride(0), **constant
        )
    return y


def stacked_matmul(
    x: Tensor, weight: CodesStack, bias: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """y [n, out] of all parts side by side, in ``dtype`` (default: x's); one launch a part."""
    y = torch.empty((len(x), weight.shape[0]), dtype=dtype or x.dtype, device=x.device)
    start = 0
    for part in weight.parts:
        end = start + part.shape[0]
        quant_matmul(x, part, None if bias is None else bias[start:end], y[:, start:end])
        start = end
    return y
