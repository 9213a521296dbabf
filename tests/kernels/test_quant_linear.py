"""Every back end against the fp32 oracle, and rows that do not know of each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.kernels import quant_linear
from holefill.kernels.quant_linear import (
    QuantLinear,
    RowQuantized,
    quantize_rows,
    reference,
    rounding_bound,
    turn,
    turn_back,
)

AWKWARD = [(1, 1), (3, 5), (17, 64), (65, 127), (130, 33), (9, 896)]


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
    wrong = RowQuantized(w.codes.roll(1, dims=0), w.scales, w.turned)
    error = (QuantLinear(wrong, backend="torch")(x) - reference(x, w)).abs()
    assert bool((error > rounding_bound(x, w)).any(dim=1).all())


LAYERS = {inner: QuantLinear(weight(50, inner), torch.ones(50)) for inner in (96, 127, 896, 4864)}


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 70), row=st.integers(0, 69), seed=st.integers(0, 1 << 16), inner=st.sampled_from(list(LAYERS)))
def test_a_row_does_not_depend_on_the_others(n: int, row: int, seed: int, inner: int) -> None:
    row %= n
    x = torch.randn(n, inner, generator=torch.Generator().manual_seed(seed))
    x[(row + 1) % n] *= 1e4 if n > 1 else 1.0  # a per-tensor scale would drown our row
    layer = LAYERS[inner]
    assert torch.equal(layer(x)[row], layer(x[row : row + 1])[0])


def test_zero_and_huge_rows() -> None:
    w = quantize_rows(torch.cat((torch.zeros(1, 8), torch.full((1, 8), 1e30))))
    y = QuantLinear(w)(torch.cat((torch.zeros(1, 8), torch.full((1, 8), 1e-6))))
    assert torch.isfinite(y).all()
    assert torch.equal(y[0], torch.zeros(2))
    torch.testing.assert_close(y[1], torch.tensor([0.0, 8e24]))


@pytest.mark.parametrize("inner", [1, 5, 96, 127, 896, 4864])
def test_turning_keeps_products_and_can_be_undone(inner: int) -> None:
    x, y = torch.randn(2, 5, inner)
    torch.testing.assert_close(turn_back(turn(x)), x, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(turn(x) @ turn(y).T, x @ y.T, atol=1e-5 * inner, rtol=1e-4)


def test_one_large_input_does_not_drown_the_others() -> None:
    """What per-row rounding without a turn loses: with 1 input of 100, it rounds the others to steps of 0.8."""
    x, w = torch.randn(8, 896), torch.randn(64, 896)
    x[:, 17] = 100.0
    w[:, 17] = 0.0
    exact = x @ w.T
    turned = QuantLinear(quantize_rows(w))(x) - exact
    peak = w.abs().amax(dim=1)
    plain = (
        QuantLinear(RowQuantized((w * 127 / peak[:, None]).round().to(torch.int8), peak / 127, turned=False))(x) - exact
    )
    assert turned.std() < plain.std() / 3


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
