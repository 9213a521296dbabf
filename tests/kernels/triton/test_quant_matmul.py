"""The quantised product equals the fp64 product with the dequantised weight; one wrong code is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from holefill.kernels.group_codes import CodesStack, GroupCodes, pack
from holefill.kernels.quant_matmul import quant_matmul, reference, stacked_matmul

ROUNDINGS = {
    torch.float32: 16,  # fp32 sums of a few hundred products
    torch.float16: 1,  # half an eps for each weight widened to the dtype, half for the result
    torch.bfloat16: 1,
}
"""Of Σ |x| · |w|, in eps of the dtype."""
FORMATS = [(4, 32, True), (8, 32, False), (8, 16, False)]


def draw(
    out: int, size: int, bits: int, group: int, affine: bool, generator: torch.Generator
) -> tuple[GroupCodes, torch.Tensor]:
    device = generator.device
    codes = torch.randint(0, 1 << bits, (out, size), generator=generator, device=device, dtype=torch.uint8)
    scales = torch.rand(out, size // group, generator=generator, device=device) + 0.5
    mins = -scales * (1 << bits) / 2 * torch.rand(scales.shape, generator=generator, device=device) if affine else None
    return pack(codes, scales / (1 << bits), None if mins is None else mins / (1 << bits), bits=bits), codes


def check(y: torch.Tensor, x: torch.Tensor, weight: GroupCodes, bias: torch.Tensor | None) -> None:
    bound = x.double().abs() @ weight.dequantize().abs().T
    bound += 0 if bias is None else bias.double().abs()
    error = (y.double() - reference(x, weight, bias)).abs()
    assert (error <= ROUNDINGS[x.dtype] * torch.finfo(x.dtype).eps * bound).all()


@pytest.mark.parametrize("dtype", ROUNDINGS)
@pytest.mark.parametrize(("bits", "group", "affine"), FORMATS)
@pytest.mark.parametrize(("n", "out", "size"), [(0, 3, 128), (1, 130, 256), (17, 33, 128), (65, 1, 128)])
def test_quant_matmul(
    dtype: torch.dtype, bits: int, group: int, affine: bool, n: int, out: int, size: int, generator: torch.Generator
) -> None:
    weight, codes = draw(out, size, bits, group, affine, generator)
    assert torch.equal(weight.dequantize(), unpacked(weight, codes))
    x = torch.randn(n, size, generator=generator, device=generator.device).to(dtype)
    bias = torch.randn(out, generator=generator, device=generator.device).to(dtype) if n != 17 else None
    check(quant_matmul(x, weight, bias), x, weight, bias)


def unpacked(weight: GroupCodes, codes: torch.Tensor) -> torch.Tensor:
    """Straight from the formula, with the codes as they were before packing."""
    scales = weight.scales.double().repeat_interleave(weight.group, dim=1)
    if weight.mins is None:
        return scales * (codes.double() - (1 << (weight.bits - 1)))
    return scales * codes.double() + weight.mins.double().repeat_interleave(weight.group, dim=1)


@pytest.mark.parametrize("dtype", ROUNDINGS)
def test_planted_faults_are_rejected(dtype: torch.dtype, generator: torch.Generator) -> None:
    """The two halves of a byte exchanged, one group's scale wrong, one group's inputs lost."""
    weight, _ = draw(33, 256, 4, 32, True, generator)
    x = torch.randn(2, 256, generator=generator, device=generator.device).to(dtype)
    check(quant_matmul(x, weight), x, weight, None)
    scales, lost = weight.scales.clone(), x.clone()
    scales[7, 3] *= 2
    lost[:, 32:64] = 0
    for fault in (replace(weight, codes=weight.codes << 4 | weight.codes >> 4), replace(weight, scales=scales)):
        with pytest.raises(AssertionError):
            check(quant_matmul(x, fault), x, weight, None)
    with pytest.raises(AssertionError):
        check(quant_matmul(lost, weight), x, weight, None)


def test_parts_of_two_formats_side_by_side(generator: torch.Generator) -> None:
    parts = [draw(33, 128, 4, 32, True, generator)[0], draw(5, 128, 8, 16, False, generator)[0]]
    x = torch.randn(2, 128, generator=generator, device=generator.device).half()
    bias = torch.randn(38, generator=generator, device=generator.device).half()
    y = stacked_matmul(x, CodesStack(tuple(parts)), bias, torch.float32)
    assert y.dtype == torch.float32
    for part, columns in zip(parts, (slice(0, 33), slice(33, 38)), strict=True):
        check(y[:, columns].half(), x, part, bias[columns])
    with pytest.raises(AssertionError):  # a part written where the other belongs
        check(y[:, 5:38].half(), x, parts[0], bias[:33])


def test_a_row_does_not_depend_on_its_neighbours(generator: torch.Generator) -> None:
    weight, _ = draw(33, 256, 8, 32, False, generator)
    x = torch.randn(16, 256, generator=generator, device=generator.device).half()
    together = quant_matmul(x, weight)
    assert torch.equal(together[5:6], quant_matmul(x[5:6], weight))


def test_wrong_shapes_raise(generator: torch.Generator) -> None:
    weight, codes = draw(3, 128, 8, 32, False, generator)
    with pytest.raises(ValueError, match="must be contiguous"):
        quant_matmul(torch.zeros(1, 64, device=codes.device), weight)
    with pytest.raises(ValueError, match="no kernel for 5 bits"):
        pack(codes, weight.scales, None, bits=5)
    with pytest.raises(ValueError, match="inputs by 128"):
        pack(codes[:, :96], weight.scales[:, :3], None, bits=8)
