"""The GPU's layout of grouped weights holds the same numbers as the CPU's, in every format of the files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holefill.kernels.group_codes import CodesStack, codes_of, stack_codes
from holefill.kernels.grouped_linear import FORMATS, Grouped, pack
from holefill.kernels.quant_linear import QuantLinear
from holefill.model.config import ModelConfig
from holefill.model.forms import FORMS
from holefill.model.weights import Part, Slot


def drawn(out: int, bits: int, group: int, affine: bool, seed: int = 0) -> Grouped:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 1 << bits, (out, 256), dtype=np.uint8)
    scales, mins = random.uniform(0.1, 1, (2, out, 256 // group)).astype(np.float16)
    return pack(codes, scales, mins if affine else None, bits=bits, group=group)


@pytest.mark.parametrize(("bits", "group", "affine"), sorted(FORMATS))
def test_every_format_keeps_its_numbers(bits: int, group: int, affine: bool) -> None:
    weight = drawn(19, bits, group, affine)
    codes = codes_of(weight)
    assert (codes.bits, codes.group, codes.shape) == (4 if bits == 4 else 8, group, (19, 256))
    expected = weight.dequantize()
    torch.testing.assert_close(codes.dequantize(torch.float32), expected)
    ids = torch.tensor([3, 18, 3])
    torch.testing.assert_close(codes.rows(ids), expected[ids])


def test_neighbours_of_one_format_become_one_part() -> None:
    parts = [drawn(17, 5, 32, False), drawn(3, 8, 32, False, seed=1), drawn(5, 4, 32, True, seed=2)]
    stack = stack_codes(parts)
    assert [part.shape[0] for part in stack.parts] == [20, 5]  # 5 bits are widened to 8
    assert stack.shape == (25, 256)
    torch.testing.assert_close(stack.dequantize(), torch.cat([part.dequantize() for part in parts]))


def test_reference_product() -> None:
    stack = stack_codes([drawn(7, 6, 16, False)])
    x = torch.randn(3, 256, generator=torch.Generator().manual_seed(0))
    linear = QuantLinear(stack, backend="reference")
    torch.testing.assert_close(linear(x), x @ stack.dequantize().T)
    assert linear(x.bfloat16()).dtype == torch.bfloat16


def test_a_stored_weight_is_the_same() -> None:
    form = FORMS["cuda-grouped"]
    stack = stack_codes([drawn(7, 4, 32, True), drawn(5, 6, 16, False)])
    arrays, layout = form.store(stack)
    assert {array.dtype for array in arrays.values()} == {torch.uint8}
    restored = form.restore(arrays, layout)
    assert isinstance(restored, CodesStack)
    assert torch.equal(restored.dequantize(), stack.dequantize())


def test_widths_that_no_kernel_reads_stay_dense() -> None:
    class Ones:
        @property
        def config(self) -> ModelConfig:
            raise AssertionError("asked for more than the weight")

        def read(self, name: str) -> torch.Tensor:
            return torch.ones(3, 96)

        def grouped(self, name: str) -> Grouped | None:
            raise AssertionError("its form packs by itself")

    weight = FORMS["cuda-grouped"].quantize(Ones(), Slot("head", (Part("head", (3, 96)),)))
    assert isinstance(weight, torch.Tensor)
    assert torch.equal(weight, torch.ones(3, 96))
