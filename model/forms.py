"""The forms a packed file can take: how matrices are stored, and which back end of ``QuantLinear`` computes on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holefill.kernels import grouped_linear
from holefill.kernels.group_codes import RUN, CodesStack, GroupCodes, stack_codes
from holefill.kernels.grouped_linear import AVX512_VNNI, Grouped, GroupedStack, quantize_groups, stack
from holefill.kernels.quant_linear import RowQuantized, Weight, quantize_rows
from holefill.model.weights import Slot, Source, read_dense

log = logging.getLogger(__name__)

GROUP = 32


@dataclass(frozen=True, slots=True)
class Form:
    """``store`` turns a weight into named arrays and what JSON keeps of it; ``restore`` is its inverse."""

    name: str
    backend: str
    quantize: Callable[[Source, Slot], Weight]
    store: Callable[[Weight], tuple[Mapping[str, Tensor], Any]]
    restore: Callable[[Mapping[str, Tensor], Any], Weight]
    copies: bool
    """Whether the back end copies a weight; otherwise it computes on the mapped file itself."""
    version: int = 1
    """Raise it whenever this form alone gives other bytes from the same source; see ``packed.FORMAT_VERSION``."""


def choose_form(name: str | None = None) -> Form:
    """The form named, or the fastest one this machine runs. Raises ValueError for one it cannot."""
    kernels = grouped_linear.kernels()
    fast = kernels is not None and kernels.isa >= AVX512_VNNI
    if name is None:
        name = "native" if fast else "w8a8"
        log.info("weights: %s (%s)", name, "AVX512-VNNI kernels" if fast else "no native kernels for this CPU")
    if name not in FORMS:
        raise ValueError(f"no weight form {name}: choose one of {', '.join(FORMS)}")
    if name == "native" and kernels is None:
        raise ValueError("the native kernels are not built here: reinstall with a C++ compiler, or choose w8a8")
    return FORMS[name]


def _rows(source: Source, slot: Slot) -> Weight:
    return quantize_rows(read_dense(source, slot))


def _store_rows(weight: Weight) -> tuple[Mapping[str, Tensor], Any]:
    assert isinstance(weight, RowQuantized)
    return {"codes": weight.codes, "scales": weight.scales}, weight.turned


def _restore_rows(arrays: Mapping[str, Tensor], turned: Any) -> Weight:
    return RowQuantized(arrays["codes"], arrays["scales"], bool(turned))


def _groups(source: Source, slot: Slot) -> Weight:
    """The file's own codes where the kernels know them, else 8 bits in groups of 32."""
    if slot.shape[1] % GROUP:
        return read_dense(source, slot)  # a toy model's odd size: fp32 through the reference
    return stack([source.grouped(part.name) or quantize_groups(source.read(part.name)) for part in slot.parts])


def _store_groups(weight: Weight) -> tuple[Mapping[str, Tensor], Any]:
    if isinstance(weight, Tensor):
        return {"dense": weight}, None
    assert isinstance(weight, GroupedStack)
    arrays = {str(index): part.packed for index, part in enumerate(weight.parts)}
    return arrays, [[part.bits, part.group, part.affine, *part.shape] for part in weight.parts]


def _restore_groups(arrays: Mapping[str, Tensor], layout: Any) -> Weight:
    if layout is None:
        return arrays["dense"]
    parts = []
    for index, (bits, group, affine, out, size) in enumerate(layout):
        parts.append(Grouped(arrays[str(index)], bits, group, affine, (out, size)))
    return GroupedStack(tuple(parts))


def _codes(source: Source, slot: Slot) -> Weight:
    """As ``_groups``, in the layout of the GPU kernel; fp32 through the vendor's library where it does not fit."""
    if slot.shape[1] % RUN:
        return read_dense(source, slot)
    return stack_codes([source.grouped(part.name) or quantize_groups(source.read(part.name)) for part in slot.parts])


def _store_codes(weight: Weight) -> tuple[Mapping[str, Tensor], Any]:
    if isinstance(weight, Tensor):
        return {"dense": weight}, None
    assert isinstance(weight, CodesStack)
    arrays: dict[str, Tensor] = {}
    for index, part in enumerate(weight.parts):
        arrays[f"{index}_codes"] = part.codes
        arrays[f"{index}_scales"] = part.scales.view(torch.uint8)
        if part.mins is not None:
            arrays[f"{index}_mins"] = part.mins.view(torch.uint8)
    return arrays, [part.bits for part in weight.parts]


def _restore_codes(arrays: Mapping[str, Tensor], layout: Any) -> Weight:
    if layout is None:
        return arrays["dense"]

    def halves(name: str) -> Tensor:
        return arrays[name].view(torch.float16)

    def part(index: int, bits: int) -> GroupCodes:
        mins = halves(f"{index}_mins") if f"{index}_mins" in arrays else None
        return GroupCodes(arrays[f"{index}_codes"], halves(f"{index}_scales"), mins, bits)

    return CodesStack(tuple(part(index, bits) for index, bits in enumerate(layout)))


FORMS: Mapping[str, Form] = {
    "w8a8": Form("w8a8", "torch", _rows, _store_rows, _restore_rows, copies=True, version=2),
    "native": Form("native", "native", _groups, _store_groups, _restore_groups, copies=False),
    "cuda-grouped": Form("cuda-grouped", "codes", _codes, _store_codes, _restore_codes, copies=True),
}
