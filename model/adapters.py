"""Low-rank adapters at serving time: added beside a quantised linear, or merged into dense weights.

Added, y = base(x) + (x aᵀ) bᵀ with both factors as 8-bit codes in groups of 32 on the native kernels: each row is
summed in one order whatever else is in the forward, so speculation stays lossless. Merging would need the base's 4-bit
codes as 8-bit ones, twice the bytes a step reads (0.5B, LOG.md). Dense weights (a GPU, the fp32 reference) are merged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.kernels import grouped_linear
from holefill.kernels.grouped_linear import GroupedStack, quantize_groups
from holefill.kernels.native_layers import LowRank
from holefill.kernels.quant_linear import QuantLinear, Weight, quantize_rows
from holefill.model.adapter_file import Adapter
from holefill.model.weights import Weights

GROUP = 32
Addition = Callable[[Tensor], Tensor]


class AdaptableLinear:
    """A linear layer whose low-rank addition can be put in and taken out between forwards."""

    __slots__ = ("_addition", "_backend", "_base", "name")

    def __init__(self, name: str, weight: Weight, bias: Tensor | None = None, *, backend: str) -> None:
        self.name = name
        self._base = QuantLinear(weight, bias, backend=backend)
        self._backend = "reference" if isinstance(weight, Tensor) else backend
        self._addition: Addition | None = None

    def __call__(self, x: Tensor) -> Tensor:
        y = self._base(x)
        return y if self._addition is None else y.add_(self._addition(x))

    def adapt(self, adapter: Adapter | None) -> None:
        """``None`` takes the addition out. What was cached of other answers is the caller's to drop."""
        pair = None if adapter is None else adapter.pair(self.name)
        with _one_thread():
            self._addition = None if pair is None else addition(*pair, self._backend)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Factors are so small that threads only wait for each other: 0.08 s for all of the 0.5B's, 5.7 s with two threads
    on a machine whose other core is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def addition(a: Tensor, b: Tensor, backend: str) -> Addition:
    """x → (x aᵀ) bᵀ for a [r, in], b [out, r], by the kernels of the base's back end; dense for ``reference``."""
    a, b = a.float(), b.float()
    if backend == "reference":
        return lambda x: F.linear(F.linear(x, a.to(x)), b.to(x))
    if backend.startswith("native") and grouped_linear.kernels() is not None and a.shape[1] % GROUP == 0:
        codes = low_rank(a, b)
        down, up = (QuantLinear(stack, backend="native") for stack in (codes.a, codes.b))
    else:
        down, up = (QuantLinear(quantize_rows(factor), backend="torch") for factor in (a, b))
    return lambda x: up(down(x))


def low_rank(a: Tensor, b: Tensor) -> LowRank:
    """8-bit codes of both factors. The inputs of the second product come in whole groups; zeros add nothing."""
    missing = -a.shape[0] % GROUP
    padded = np.pad(a.float().numpy(), ((0, missing), (0, 0))), np.pad(b.float().numpy(), ((0, 0), (0, missing)))
    return LowRank(*(GroupedStack((quantize_groups(torch.from_numpy(factor)),)) for factor in padded))


def merged(weights: Weights, adapter: Adapter) -> Weights:
    """Dense weights with the adapter inside: W + b a, rounded to the weights' own type."""
    by_slot = dict(weights.by_slot)
    for name, weight in weights.by_slot.items():
        pair = adapter.pair(name)
        if pair is None:
            continue
        if not isinstance(weight, Tensor):
            raise TypeError(f"{name} is quantised: an adapter is added to it, not merged")
        by_slot[name] = merge_into(weight, *pair)
    return replace(weights, by_slot=by_slot)


def merge_into(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    delta = torch.mm(b.to(weight.device, torch.float32), a.to(weight.device, torch.float32))
    return (weight.float() + delta).to(weight.dtype)
