"""y = x Wᵀ (+ b) over group-quantised weights of 4, 5, 6 or 8 bits, as GGUF blocks hold them: the native CPU path.

Shapes
    x       [n, in]            float32
    codes   [out, in]          uint8, 0 … 2^bits − 1
    scales  [out, in / group]  float16
    mins    [out, in / group]  float16, affine formats only
    y       [n, out]           float32

    w = scale · code + min             affine     (Q4_K)
    w = scale · (code − 2^(bits−1))    symmetric  (Q5_0, Q6_K, Q8_0)

The codes are the file's own: packing rounds only the fp32 products of nested scales (Q4_K, Q6_K) to fp16. Activations
get one int8 scale per group of a ROW (one per whole row costs the 0.5B a KL of 0.011, LOG.md), and every row runs the
same operations in the same order whatever n is, so a result does not depend on which rows share the forward: greedy
speculation is exactly lossless.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.kernels.library import library, threads

log = logging.getLogger(__name__)

TILE = 16  # outputs a tile: the lanes of a 512-bit register of int32
FORMATS = frozenset({(4, 32, True), (5, 32, False), (6, 16, False), (8, 32, False)})
"""(bits, group, affine) that the library is compiled for; each is one instantiation in native/grouped_format.h."""

AVX2, AVX512_VNNI, AMX, AMX_EMULATED = 1, 2, 3, 4
"""Each gives the bits of the others. AMX serves 32 rows and more; emulated, over plain memory, it is for tests."""
INSTRUCTIONS = {AVX2: "AVX2", AVX512_VNNI: "AVX512-VNNI", AMX: "AMX from 32 rows on, AVX512-VNNI below"}
TRIAL = (
    "gave the same bits and was faster when tried now",
    "is not on this CPU, or the kernel does not permit it",
    "is left out: its products differ from AVX512-VNNI's",
    "is left out: it was slower than AVX512-VNNI when tried now",
)
"""By the verdicts of native/amx_trial.cpp."""

Bytes = npt.NDArray[np.uint8]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Grouped:
    """A weight in the layout of native/grouped_format.h; ``packed`` is [tiles, groups, group bytes] uint8."""

    packed: Tensor
    bits: int
    group: int
    affine: bool
    shape: tuple[int, int]
    """[out, in]; out need not be a multiple of 16."""

    def dequantize(self) -> Tensor:
        """W in fp32 [out, in]."""
        codes, scales, mins = unpack(self)
        offset = 0.0 if self.affine else float(1 << (self.bits - 1))
        groups = codes.float().view(*scales.shape, self.group)
        return ((groups - offset) * scales[:, :, None] + mins[:, :, None]).view(self.shape)


@dataclass(frozen=True, slots=True)
class GroupedStack:
    """Matrices stacked by rows, each in its own format: q, k and v of one product may be stored with different bits."""

    parts: tuple[Grouped, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return sum(part.shape[0] for part in self.parts), self.parts[0].shape[1]

    def dequantize(self) -> Tensor:
        return torch.cat([part.dequantize() for part in self.parts])

    def rows(self, ids: Tensor) -> Tensor:
        """Only the rows asked for, in fp32 [len(ids), in]: an embedding lookup. Embeddings are not stacked."""
        (part,) = self.parts
        return grouped_rows(ids, part)


def stack(parts: Sequence[Grouped]) -> GroupedStack:
    """Neighbours of one format become one matrix, where the tiles of the first are full: fewer, longer launches."""
    merged: list[Grouped] = []
    for part in parts:
        last = merged[-1] if merged else None
        kind = (part.bits, part.group, part.affine)
        if last is not None and (last.bits, last.group, last.affine) == kind and last.shape[0] % TILE == 0:
            shape = (last.shape[0] + part.shape[0], part.shape[1])
            merged[-1] = Grouped(torch.cat((last.packed, part.packed)), *kind, shape)
        else:
            merged.append(part)
    return GroupedStack(tuple(merged))


def quantize_groups(weight: Tensor) -> Grouped:
    """fp32 [out, in] → 8 bits in groups of 32, as Q8_0 does. Raises ValueError when in is not a multiple of 32."""
    groups = weight.numpy().reshape(weight.shape[0], -1, 32)  # numpy: torch's threads cost more than they bring here
    scales = (np.abs(groups).max(axis=2) / np.float32(127)).astype(np.float16)
    steps = np.where(scales > 0, scales, np.float16(1)).astype(np.float32)[:, :, None]
    codes = (np.clip(np.rint(groups / steps), -127, 127) + np.float32(128)).astype(np.uint8)
    return pack(codes.reshape(weight.shape), scales, None, bits=8, group=32)


def coarse(weight: Grouped) -> Grouped | None:
    """The upper 5 bits of 8-bit codes, rounded: what a head reads to find its largest outputs. None for other codes."""
    found = kernels()
    if found is None or (weight.bits, weight.group, weight.affine) != (8, 32, False):
        return None
    tiles, groups, _ = weight.packed.shape
    packed = torch.empty(tiles, groups, 2 * TILE + 5 * 64, dtype=torch.uint8)
    found.coarse(weight.packed.data_ptr(), tiles * groups, packed.data_ptr())
    scales = weight.packed[:, :, : 2 * TILE].contiguous().view(torch.float16)
    packed[:, :, : 2 * TILE] = (scales * 8).view(torch.uint8)
    return Grouped(packed, 5, 32, False, weight.shape)


def reference(x: Tensor, weight: Grouped) -> Tensor:
    """The oracle: fp32 product with the dequantised weight; activations are not rounded."""
    return F.linear(x, weight.dequantize())


def pack(
    codes: Bytes, scales: npt.NDArray[np.float16], mins: npt.NDArray[np.float16] | None, *, bits: int, group: int
) -> Grouped:
    """Arrange [out, in] codes into tiles. Raises ValueError for a format the library does not have."""
    if (bits, group, mins is not None) not in FORMATS:
        raise ValueError(f"no kernel for {bits} bits in groups of {group}, affine {mins is not None}")
    out, size = codes.shape
    if size % group or scales.shape != (out, size // group):
        raise ValueError(f"codes {codes.shape} and scales {scales.shape} do not fit groups of {group}")
    tiles, groups, quads = -(-out // TILE), size // group, group // 4
    # [tile, output, group, quad, input] → [tile, group, quad, output × input]
    lines = _pad(codes, tiles).reshape(tiles, TILE, groups, quads, 4).transpose(0, 2, 3, 1, 4)
    lines = np.ascontiguousarray(lines).reshape(tiles, groups, quads, 64)
    parts = [_halves(scales, tiles, groups)]
    if mins is not None:
        parts.append(_halves(mins, tiles, groups))
    if bits == 8:
        parts.append(lines.reshape(tiles, groups, -1))
    else:
        low, high = lines[:, :, : quads // 2] & 15, lines[:, :, quads // 2 :] & 15
        parts.append((low + high * np.uint8(16)).astype(np.uint8).reshape(tiles, groups, -1))
        for plane in range(bits - 4):
            bit = (lines >> (4 + plane)) & 1
            parts.append(np.packbits(bit, axis=-1, bitorder="little").reshape(tiles, groups, -1))
    packed = torch.from_numpy(np.concatenate(parts, axis=2))
    return Grouped(packed, bits, group, mins is not None, (out, size))


def unpack(weight: Grouped) -> tuple[Tensor, Tensor, Tensor]:
    """The inverse of ``pack``: codes [out, in] uint8, scales and mins [out, groups] fp32 (mins 0 when symmetric)."""
    out, size = weight.shape
    blocks = weight.packed.numpy()
    tiles, groups, _ = blocks.shape
    quads = weight.group // 4
    header = 32 * (1 + weight.affine)

    def halves(start: int) -> Tensor:
        values = np.ascontiguousarray(blocks[:, :, start : start + 32]).view(np.float16)
        return torch.from_numpy(values.transpose(0, 2, 1).reshape(-1, groups)[:out].astype(np.float32))

    if weight.bits == 8:
        lines = blocks[:, :, header:].reshape(tiles, groups, quads, 64)
    else:
        low_end = header + quads // 2 * 64
        low = blocks[:, :, header:low_end].reshape(tiles, groups, quads // 2, 64)
        lines = np.concatenate([low & 15, low >> 4], axis=2)
        planes = blocks[:, :, low_end:].reshape(tiles, groups, weight.bits - 4, quads, 8)
        for plane in range(weight.bits - 4):
            lines = lines | np.unpackbits(planes[:, :, plane], axis=-1, bitorder="little") << (4 + plane)
    codes = lines.reshape(tiles, groups, quads, TILE, 4).transpose(0, 3, 1, 2, 4).reshape(-1, size)[:out]
    scales = halves(0)
    return torch.from_numpy(np.ascontiguousarray(codes)), scales, halves(32) if weight.affine else scales * 0


def _pad(rows: npt.NDArray[Scalar], tiles: int) -> npt.NDArray[Scalar]:
    return np.pad(rows, [(0, tiles * TILE - rows.shape[0]), (0, 0)])


def _halves(values: npt.NDArray[np.float16], tiles: int, groups: int) -> Bytes:
    lanes = _pad(values.astype(np.float16), tiles).reshape(tiles, TILE, groups).transpose(0, 2, 1)
    return np.ascontiguousarray(lanes).view(np.uint8).reshape(tiles, groups, 2 * TILE)


# ---- launcher -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kernels:
    """The compiled functions and the instruction set they will use here: ``AVX2``, ``AVX512_VNNI`` or ``AMX``."""

    linear: Callable[..., int]
    refine: Callable[..., int]
    rows: Callable[..., int]
    coarse: Callable[..., None]
    isa: int


def _instructions(native: ctypes.CDLL) -> int:
    """The best set that this CPU has; of AMX a trial decides at each load. Logged with the reason."""
    isa = int(native.holefill_isa())
    if isa == 0:
        log.info("no native linear layers: this CPU has no AVX2; the torch path serves")
        return 0
    verdict = TRIAL[native.holefill_amx_trial(AMX)]
    isa = AMX if verdict is TRIAL[0] else min(isa, AVX512_VNNI)
    log.info("native products: %s; AMX %s", INSTRUCTIONS[isa], verdict)
    return isa


@functools.cache
def kernels() -> Kernels | None:
    """None, with the reason logged once: the library was not built, or this CPU has no AVX2."""
    native = library()
    if native is None:
        return None
    isa = _instructions(native)
    if isa == 0:
        return None
    pointer, number, small = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    problem = (pointer, number, number, pointer, number, pointer, small, small, small)
    native.holefill_grouped_linear.argtypes = [*problem, *(pointer, pointer, pointer, pointer, number, small, small)]
    native.holefill_refine_top.argtypes = [*problem, *(pointer,) * 5, number, small, small]
    native.holefill_grouped_rows.argtypes = [pointer, number, number, pointer, small, small, small, pointer]
    native.holefill_coarse.argtypes, native.holefill_coarse.restype = [pointer, number, pointer], None
    return Kernels(
        *(native.holefill_grouped_linear, native.holefill_refine_top, native.holefill_grouped_rows),
        *(native.holefill_coarse, isa),
    )


def _kernels() -> Kernels:
    found = kernels()
    if found is None:
        raise RuntimeError("the native kernels are not built: reinstall with a C++ compiler, or use the torch back end")
    return found


def grouped_linear(
    x: Tensor,
    weight: Grouped,
    bias: Tensor | None = None,
    *,
    out: Tensor | None = None,
    isa: int | None = None,
) -> Tensor:
    """y [n, out], written to ``out`` if given (its rows may be strided). Raises ValueError for a wrong shape or dtype,
    RuntimeError where the library is missing."""
    y = torch.empty(x.shape[0], weight.shape[0]) if out is None else out
    _launch(_kernels().linear, x, weight, bias, y, passes=1, isa=isa)
    return y


def refine_top(x: Tensor, weight: Grouped, y: Tensor, bias: Tensor | None = None, *, isa: int | None = None) -> None:
    """Computes the 32 tiles of each row of ``y`` = ``grouped_linear(x, weight, bias)`` with its largest values again,
    from activations of 16 bits: what a head needs of them, without their cost in the other 150,000 outputs."""
    _launch(_kernels().refine, x, weight, bias, y, passes=2, isa=isa)


def _launch(
    kernel: Callable[..., int],
    x: Tensor,
    weight: Grouped,
    bias: Tensor | None,
    y: Tensor,
    *,
    passes: int,
    isa: int | None,
) -> None:
    """``passes``: rounded rows of 8 bits each that stand for one row of x."""
    width, size = weight.shape
    if x.dtype != torch.float32 or x.dim() != 2 or x.shape[1] != size or x.device.type != "cpu":
        raise ValueError(f"x must be float32 [n, {size}] on the CPU, not {x.dtype} {tuple(x.shape)} on {x.device}")
    if bias is not None and (bias.dtype != torch.float32 or bias.shape != (width,) or not bias.is_contiguous()):
        raise ValueError(f"bias must be contiguous float32 [{width}], not {bias.dtype} {tuple(bias.shape)}")
    n = x.shape[0]
    if y.dtype != torch.float32 or y.shape != (n, width) or y.stride(1) != 1 or y.device.type != "cpu":
        raise ValueError(f"y must be float32 [{n}, {width}] with dense rows, not {y.dtype} {tuple(y.shape)}")
    x = x.contiguous()
    codes = [torch.empty(n, size, dtype=torch.int8) for _ in range(passes)]
    sums = torch.empty(n, size // weight.group, dtype=torch.int32)
    scales = torch.empty(n, size // weight.group)
    status = kernel(
        *(x.data_ptr(), n, size, weight.packed.data_ptr(), width, 0 if bias is None else bias.data_ptr()),
        *(weight.bits, weight.group, int(weight.affine), *(part.data_ptr() for part in codes)),
        *(sums.data_ptr(), scales.data_ptr(), y.data_ptr(), y.stride(0)),
        *(_kernels().isa if isa is None else isa, threads()),
    )
    if status:
        raise ValueError(
            f"no kernel for {weight.bits} bits in groups of {weight.group}, affine {weight.affine}, or not on this CPU"
        )


def stacked_linear(x: Tensor, weight: GroupedStack) -> Tensor:
    """y [n, out] of all parts side by side."""
    y = torch.empty(x.shape[0], weight.shape[0])
    start = 0
    for part in weight.parts:
        grouped_linear(x, part, out=y[:, start : start + part.shape[0]])
        start += part.shape[0]
    return y


def refined_linear(x: Tensor, weight: GroupedStack, first: GroupedStack) -> Tensor:
    """``stacked_linear(x, first)``, each part's largest values then as ``weight`` and 16-bit activations give them."""
    y = stacked_linear(x, first)
    start = 0
    for part in weight.parts:
        refine_top(x, part, y[:, start : start + part.shape[0]])
        start += part.shape[0]
    return y


def grouped_rows(ids: Tensor, weight: Grouped) -> Tensor:
    """Rows ``ids`` [n] of W in fp32 [n, in]: an embedding lookup that reads only the tiles of those ids."""
    width, size = weight.shape
    if (
        ids.dtype != torch.int64
        or ids.dim() != 1
        or (ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < width)
    ):
        raise ValueError(f"ids must be int64 in [0, {width}), not {ids.dtype} {tuple(ids.shape)}")
    ids = ids.contiguous()
    rows = torch.empty(ids.shape[0], size)
    status = _kernels().rows(
        *(ids.data_ptr(), ids.shape[0], size, weight.packed.data_ptr()),
        *(weight.bits, weight.group, int(weight.affine), rows.data_ptr()),
    )
    if status:
        raise ValueError(f"no kernel for {weight.bits} bits in groups of {weight.group}, affine {weight.affine}")
    return rows
