"""The native kernels against their reference, and the promises speculation rests on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holefill.kernels.grouped_linear import (
    FORMATS,
    Grouped,
    GroupedStack,
    coarse,
    grouped_linear,
    grouped_rows,
    kernels,
    pack,
    quantize_groups,
    reference,
    refine_top,
    stack,
    stacked_linear,
    unpack,
)
from holefill.kernels.quant_linear import QuantLinear

FP32_STEP = torch.finfo(torch.float32).eps
ACTIVATION_STEP = 1 / 127  # of a row's peak
AVX2, AVX512_VNNI = 1, 2

pytestmark = pytest.mark.skipif(kernels() is None, reason="no native kernels here: no C++ compiler or no AVX2")


def make(bits: int, group: int, affine: bool, out: int, size: int, seed: int = 0) -> Grouped:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1 << bits, (out, size), dtype=np.uint8)
    scales = rng.uniform(-0.01, 0.01, (out, size // group)).astype(np.float16)
    mins = rng.uniform(-0.1, 0.1, (out, size // group)).astype(np.float16) if affine else None
    weight = pack(codes, scales, mins, bits=bits, group=group)
    back, _, _ = unpack(weight)
    assert np.array_equal(back.numpy(), codes)
    return weight


def oracle(x: torch.Tensor, weight: Grouped) -> torch.Tensor:
    """The same activations rounded to int8 by group, then exact: what is left to the kernel is fp32 summation."""
    groups = x.view(x.shape[0], -1, weight.group)
    peak = groups.abs().amax(dim=2, keepdim=True)
    rounded = torch.round(groups * torch.where(peak > 0, 127 / peak, 0)).double() * peak.double() / 127
    return rounded.view(x.shape) @ weight.dequantize().double().T


def tolerance(x: torch.Tensor, weight: Grouped) -> torch.Tensor:
    """fp32 summation over the groups of a row."""
    groups = weight.shape[1] // weight.group
    peak = x.abs().amax(dim=1, keepdim=True) * weight.dequantize().abs().sum(dim=1)
    return FP32_STEP * (groups + 4) * peak


def precise(x: torch.Tensor, weight: Grouped, bias: torch.Tensor, isa: int) -> torch.Tensor:
    """Every output from 16-bit activations: ``refine_top`` takes 32 tiles at a time."""
    parts = []
    for tile in range(0, weight.packed.shape[0], 32):
        packed, first = weight.packed[tile : tile + 32], tile * 16
        out = min(weight.shape[0] - first, 512)
        part = Grouped(packed, weight.bits, weight.group, weight.affine, (out, weight.shape[1]))
        refine_top(x, part, y := torch.zeros(x.shape[0], out), bias[first : first + out], isa=isa)
        parts.append(y)
    return torch.cat(parts, dim=1)


formats = pytest.mark.parametrize(("bits", "group", "affine"), sorted(FORMATS))
isas = pytest.mark.parametrize("isa", [AVX2, AVX512_VNNI])


def require(isa: int) -> None:
    found = kernels()
    if found is None or found.isa < isa:
        pytest.skip("this CPU has no AVX512-VNNI")


@formats
@isas
@pytest.mark.parametrize(("out", "size"), [(1, 32), (16, 64), (37, 96), (130, 896)])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 17])
def test_equals_reference(bits: int, group: int, affine: bool, isa: int, out: int, size: int, n: int) -> None:
    require(isa)
    weight = make(bits, group, affine, out, size)
    x = torch.randn(n, size, generator=torch.Generator().manual_seed(n))
    bias = torch.randn(out)
    y = grouped_linear(x, weight, bias, isa=isa)
    assert ((y - bias - oracle(x, weight)).abs() <= tolerance(x, weight) + 4 * FP32_STEP * bias.abs()).all()
    rounding = x.abs().amax(dim=1, keepdim=True) * ACTIVATION_STEP / 2 * weight.dequantize().abs().sum(dim=1)
    assert ((y - bias - reference(x, weight)).abs() <= rounding * (1 + 1e-3)).all()


@formats
def test_a_planted_fault_is_rejected(bits: int, group: int, affine: bool) -> None:
    weight = make(bits, group, affine, 32, 128)
    x = torch.zeros(1, 128)
    x[0, 5] = 1.0
    good = oracle(x, weight)
    header = 32 * (1 + affine)
    weight.packed[0, 0, header + 64 + 1] ^= 8  # one bit of the code of output 0, input 5
    assert ((grouped_linear(x, weight) - good).abs() > tolerance(x, weight)).any()


@formats
def test_a_row_does_not_depend_on_its_companions(bits: int, group: int, affine: bool) -> None:
    weight = make(bits, group, affine, 70, 256)
    x = torch.randn(21, 256) * torch.logspace(-3, 3, 21)[:, None]
    together = grouped_linear(x, weight)
    for row in range(21):
        assert torch.equal(grouped_linear(x[row : row + 1], weight)[0], together[row])
    assert torch.equal(grouped_linear(x[3:14], weight), together[3:14])


@formats
def test_both_instruction_sets_agree_bitwise(bits: int, group: int, affine: bool) -> None:
    require(AVX512_VNNI)
    weight = make(bits, group, affine, 33, 160)
    x = torch.randn(9, 160)
    assert torch.equal(grouped_linear(x, weight, isa=AVX2), grouped_linear(x, weight, isa=AVX512_VNNI))


@formats
def test_rows_equal_the_dequantised_weight(bits: int, group: int, affine: bool) -> None:
    weight = make(bits, group, affine, 50, 96)
    ids = torch.tensor([0, 49, 17, 17, 15, 16])
    torch.testing.assert_close(grouped_rows(ids, weight), weight.dequantize()[ids], rtol=1e-6, atol=1e-7)


@formats
@isas
def test_refined_outputs_are_a_hundred_times_closer(bits: int, group: int, affine: bool, isa: int) -> None:
    require(isa)
    weight = make(bits, group, affine, 70, 256)
    x, bias = torch.randn(11, 256), torch.randn(70)
    exact = x.double() @ weight.dequantize().double().T + bias
    plain, refined = grouped_linear(x, weight, bias, isa=isa), precise(x, weight, bias, isa)
    assert (refined - exact).abs().max() < (plain - exact).abs().max() / 100
    assert torch.equal(precise(x[4:5], weight, bias, isa)[0], refined[4])


def test_a_stack_merges_what_it_can_and_equals_its_parts() -> None:
    parts = [make(5, 32, False, out, 64, seed=out) for out in (32, 16, 20)] + [make(8, 32, False, 24, 64)]
    together = stack(parts)
    assert [part.shape[0] for part in together.parts] == [68, 24]
    x = torch.randn(3, 64)
    assert torch.equal(stacked_linear(x, together), torch.cat([grouped_linear(x, part) for part in parts], dim=1))
    assert torch.equal(together.dequantize(), torch.cat([part.dequantize() for part in parts]))


def test_quantised_groups_are_within_half_a_step() -> None:
    weight = torch.randn(21, 96) * torch.logspace(-4, 2, 21)[:, None]
    weight[3] = 0
    step = weight.view(21, 3, 32).abs().amax(dim=2) / 127
    error = (quantize_groups(weight).dequantize() - weight).abs().view(21, 3, 32).amax(dim=2)
    rounding = 127 * torch.maximum(step * 2**-11, torch.tensor(2.0**-25))  # of the scale itself to fp16, or subnormal
    assert (error <= step * 0.501 + rounding).all()


def test_wrong_input_raises() -> None:
    weight = make(8, 32, False, 20, 64)
    for x in (torch.zeros(1, 63), torch.zeros(64), torch.zeros(1, 64, dtype=torch.float64)):
        with pytest.raises(ValueError, match="x must be float32"):
            grouped_linear(x, weight)
    with pytest.raises(ValueError, match="bias"):
        grouped_linear(torch.zeros(1, 64), weight, torch.zeros(19))
    with pytest.raises(ValueError, match="ids must be"):
        grouped_rows(torch.tensor([20]), weight)
    with pytest.raises(ValueError, match="no kernel"):
        pack(np.zeros((16, 32), np.uint8), np.zeros((16, 1), np.float16), None, bits=3, group=32)


def test_no_rows_is_no_work() -> None:
    assert grouped_linear(torch.zeros(0, 64), make(8, 32, False, 20, 64)).shape == (0, 20)


@formats
@isas
@pytest.mark.parametrize("n", [1, 3])
def test_refined_outputs_are_the_largest_ones(bits: int, group: int, affine: bool, isa: int, n: int) -> None:
    require(isa)
    weight = make(bits, group, affine, 700, 96)  # 44 tiles
    x, bias = torch.randn(n, 96, generator=torch.Generator().manual_seed(3)), torch.randn(700)
    plain = grouped_linear(x, weight, bias, isa=isa)
    exact = precise(x, weight, bias, isa)
    refined = plain.clone()
    refine_top(x, weight, refined, bias, isa=isa)
    for row in range(n):
        peaks = torch.nn.functional.pad(plain[row], (0, 4), value=float("-inf")).view(-1, 16).amax(dim=1)
        chosen = torch.zeros(44, dtype=torch.bool).index_fill(0, peaks.topk(32).indices, True)
        outputs = chosen.repeat_interleave(16)[:700]
        assert torch.equal(refined[row], torch.where(outputs, exact[row], plain[row]))
        assert not torch.equal(exact[row], plain[row])
        assert torch.equal(refined[row].argmax(), exact[row].argmax())


def test_a_coarse_weight_keeps_the_upper_five_bits() -> None:
    weight = make(8, 32, False, 50, 96)
    less = coarse(weight)
    assert less is not None
    (codes, scales, _), (upper, wider, _) = unpack(weight), unpack(less)
    assert torch.equal(upper.int(), ((codes.int() + 4) // 8).clamp_max(31))
    assert torch.equal(wider, scales * 8)
    assert codes.min() < 4, "rounding down to nothing is tried"
    assert codes.max() > 251, "rounding up beyond the end is tried"
    assert coarse(make(6, 16, False, 16, 32)) is None


def test_a_refined_product_takes_its_largest_outputs_from_the_whole_weight() -> None:
    weight = make(8, 32, False, 700, 96)
    less = coarse(weight)
    assert less is not None
    x = torch.randn(3, 96, generator=torch.Generator().manual_seed(3))
    wanted = grouped_linear(x, less)
    refine_top(x, weight, wanted)
    assert torch.equal(QuantLinear(GroupedStack((weight,)), backend="native-refined")(x), wanted)
    found = kernels()
    assert found is not None
    assert torch.equal(wanted.argmax(1), precise(x, weight, torch.zeros(700), found.isa).argmax(1))
