"""Every back end against the fp32 oracle, and rows that do not know of each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.kernels import quant_linear
from holefill.kernels.quant_linear import QuantLinear, RowQuantized, quantize_rows, reference, rounding_bound

AWKWARD = [(1, 1), (3, 5), (17, 64), (65, 127), (130, 33)]


def weight(out: int, inner: int) -> RowQuantized:
    return quantize_rows(torch.randn(out, inner, generator=torch.Generator().manual_seed(out)))


@pytest.mark.parametrize(("out", "inner"), AWKWARD)
@pytest.mark.parametrize("n", [1, 2, 7, 16, 33, 100])
def test_torch_is_within_the_rounding_of_activations(out: int, inner: int, n: int) -> None:
    x, w = torch.randn(n, inner) * 3, weight(out, inner)
    error = (QuantLinear(w, backend="torch")(x) - reference(x, w)).abs()
    assert bool((error <= rounding_bound(x, w) + 1e-5).all())


def test_a_planted_fault_is_outside_the_bound() -> None:
    x, w = torch.randn(4, 64), weight(17, 64)
    wrong = RowQuantized(w.codes.roll(1, dims=0), w.scales)
    error = (QuantLinear(wrong, backend="torch")(x) - reference(x, w)).abs()
    assert bool((error > rounding_bound(x, w)).any(dim=1).all())


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 70), row=st.integers(0, 69), seed=st.integers(0, 1 << 16))
def test_a_row_does_not_depend_on_the_others(n: int, row: int, seed: int) -> None:
    row %= n
    x = torch.randn(n, 96, generator=torch.Generator().manual_seed(seed))
    x[(row + 1) % n] *= 1e4 if n > 1 else 1.0  # a per-tensor scale would drown our row
    layer = QuantLinear(weight(50, 96), torch.ones(50))
    assert torch.equal(layer(x)[row], layer(x[row : row + 1])[0])


def test_zero_and_huge_rows() -> None:
    w = quantize_rows(torch.cat((torch.zeros(1, 8), torch.full((1, 8), 1e30))))
    y = QuantLinear(w)(torch.cat((torch.zeros(1, 8), torch.full((1, 8), 1e-6))))
    assert torch.isfinite(y).all()
    assert torch.equal(y[0], torch.zeros(2))
    torch.testing.assert_close(y[1], torch.tensor([0.0, 8e24]))


def test_bias_and_dense_weights() -> None:
    x, dense, bias = torch.randn(5, 12), torch.randn(7, 12), torch.randn(7)
    for backend in quant_linear.BACKENDS:
        torch.testing.assert_close(QuantLinear(dense, bias, backend=backend)(x), x @ dense.T + bias)


def test_lookup_equals_dequantised_rows() -> None:
    w, ids = weight(40, 16), torch.tensor([3, 39, 3])
    assert torch.equal(w.rows(ids), w.dequantize()[ids])


def test_a_cpu_that_saturates_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quant_linear, "int8_is_exact", lambda: False)
    x, w = torch.randn(3, 64), weight(17, 64)
    torch.testing.assert_close(QuantLinear(w, backend="torch")(x), reference(x, w))
