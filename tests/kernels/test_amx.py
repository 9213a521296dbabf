"""The AMX products without AMX: one source, its tile registers in plain memory, bit by bit against AVX512-VNNI."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.kernels import grouped_linear as module
from holefill.kernels.grouped_linear import (
    AMX,
    AMX_EMULATED,
    AVX512_VNNI,
    FORMATS,
    TRIAL,
    Grouped,
    grouped_linear,
    kernels,
    pack,
)
from holefill.kernels.library import library

found = kernels()
pytestmark = pytest.mark.skipif(
    found is None or found.isa < AVX512_VNNI,
    reason="no native kernels with AVX512-VNNI to compare with here: no C++ compiler, or another CPU",
)
formats = pytest.mark.parametrize(("bits", "group", "affine"), sorted(FORMATS))


def make(bits: int, group: int, affine: bool, out: int, size: int) -> Grouped:
    rng = np.random.default_rng(out)
    codes = rng.integers(0, 1 << bits, (out, size), dtype=np.uint8)
    scales = rng.uniform(-0.01, 0.01, (out, size // group)).astype(np.float16)
    mins = rng.uniform(-0.1, 0.1, (out, size // group)).astype(np.float16) if affine else None
    return pack(codes, scales, mins, bits=bits, group=group)


def rows(n: int, size: int) -> torch.Tensor:
    """Of all magnitudes, with a group of zeros."""
    x = torch.randn(n, size, generator=torch.Generator().manual_seed(n)) * torch.logspace(-3, 3, n)[:, None]
    x[n // 2, :32] = 0
    return x


@formats
@pytest.mark.parametrize("n", [1, 16, 17, 31, 32, 33, 47, 64])
@pytest.mark.parametrize(("out", "size"), [(16, 32), (37, 96), (50, 320)])
def test_bits_are_those_of_vnni(bits: int, group: int, affine: bool, n: int, out: int, size: int) -> None:
    weight, x, bias = make(bits, group, affine, out, size), rows(n, size), torch.randn(out)
    wanted = grouped_linear(x, weight, bias, isa=AVX512_VNNI)
    assert torch.equal(grouped_linear(x, weight, bias, isa=AMX_EMULATED), wanted)


@formats
def test_a_row_does_not_depend_on_its_companions(bits: int, group: int, affine: bool) -> None:
    weight, x = make(bits, group, affine, 40, 160), rows(49, 160)
    together = grouped_linear(x, weight, isa=AMX_EMULATED)
    for part in (slice(0, 1), slice(3, 20), slice(10, 45), slice(48, 49)):
        assert torch.equal(grouped_linear(x[part], weight, isa=AMX_EMULATED), together[part])


@formats
def test_a_planted_fault_is_rejected(bits: int, group: int, affine: bool) -> None:
    weight, x = make(bits, group, affine, 20, 64), torch.ones(33, 64)
    wanted = grouped_linear(x, weight, isa=AVX512_VNNI)
    weight.packed[1, 0, 32 * (1 + affine) + 5] ^= 1  # the lowest bit of one code of output 17
    changed = (grouped_linear(x, weight, isa=AMX_EMULATED) != wanted).any(dim=0)
    assert changed.nonzero().flatten().tolist() == [17]


@given(n=st.integers(32, 70), out=st.integers(1, 40), groups=st.integers(1, 6), form=st.sampled_from(sorted(FORMATS)))
@settings(max_examples=25, deadline=None)
def test_any_shape(n: int, out: int, groups: int, form: tuple[int, int, bool]) -> None:
    weight, x = make(*form, out, groups * form[1]), rows(n, groups * form[1])
    y = torch.full((n, out + 3), 7.0)  # rows apart from each other, and nothing written between
    grouped_linear(x, weight, out=y[:, 1 : out + 1], isa=AMX_EMULATED)
    assert torch.equal(y[:, 1 : out + 1], grouped_linear(x, weight, isa=AVX512_VNNI))
    assert (y[:, 0] == 7).all()
    assert (y[:, out + 1 :] == 7).all()


def test_it_runs_nowhere_without_permission() -> None:
    native = library()
    assert native is not None
    if native.holefill_isa() >= AMX:
        pytest.skip("this CPU has AMX")
    with pytest.raises(ValueError, match="not on this CPU"):
        grouped_linear(torch.ones(32, 32), make(8, 32, False, 16, 32), isa=AMX)
    assert native.holefill_amx_trial(AMX) == 1


def test_the_trial_finds_equal_bits() -> None:
    native = library()
    assert native is not None
    assert TRIAL[native.holefill_amx_trial(AMX_EMULATED)] in (TRIAL[0], TRIAL[3])


@pytest.mark.parametrize(
    ("best", "verdict", "chosen"), [(3, 0, 3), (3, 1, 2), (3, 2, 2), (3, 3, 2), (2, 1, 2), (1, 1, 1)]
)
def test_only_a_trial_won_chooses_it(best: int, verdict: int, chosen: int, caplog: pytest.LogCaptureFixture) -> None:
    class Native:
        holefill_isa = staticmethod(lambda: best)
        holefill_amx_trial = staticmethod(lambda isa: verdict)

    native: Any = Native()
    with caplog.at_level(logging.INFO, logger=module.__name__):
        assert module._instructions(native) == chosen
    assert TRIAL[verdict] in caplog.text
