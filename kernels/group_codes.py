"""Group-quantised weights as the GPU kernel reads them: 4- or 8-bit codes row by row. Made without a GPU or Triton.

w = scale · code + min             affine     (Q4_K)
w = scale · (code − 2^(bits−1))    symmetric  (Q8_0; Q5_0 and Q6_K widened to 8 bits)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from holefill.kernels.grouped_linear import Grouped, unpack

RUN = 128
"""Inputs a step of the kernel; every Qwen2.5-Coder width is a multiple."""


@dataclass(frozen=True, slots=True)
class GroupCodes:
    """One weight. Shapes
    codes   [out, in · bits / 8] uint8; 4 bits: byte j of a run of 128 inputs holds inputs j (low) and j + 64 (high)
    scales  [out, in / group]    fp16
    mins    [out, in / group]    fp16, affine formats only
    """

    codes: Tensor
    scales: Tensor
    mins: Tensor | None
    bits: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1] * 8 // self.bits

    @property
    def group(self) -> int:
        return self.shape[1] // self.scales.shape[1]

    def dequantize(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """W [out, in]."""
        out, size = self.shape
        codes = self.codes
        if self.bits == 4:
            runs = codes.view(out, size // RUN, RUN // 2)
            codes = torch.cat((runs & 15, runs >> 4), dim=-1)
        groups = codes.reshape(out, -1, self.group).to(dtype)
        scales = self.scales.to(dtype)[:, :, None]
        low = -scales * (1 << (self.bits - 1)) if self.mins is None else self.mins.to(dtype)[:, :, None]
        return (groups * scales + low).view(out, size)

    def rows(self, ids: Tensor) -> Tensor:
        """Rows ``ids`` of W in fp32 [len(ids), in]: an embedding lookup."""
        mins = None if self.mins is None else self.mins[ids]
        return GroupCodes(self.codes[ids], self.scales[ids], mins, self.bits).dequantize(torch.float32)

    def to(self, device: torch.device) -> GroupCodes:
        mins = None if self.mins is None else self.mins.to(device)
        return GroupCodes(self.codes.to(device), self.scales.to(device), mins, self.bits)


@dataclass(frozen=True, slots=True)
class CodesStack:
    """Matrices stacked by rows, one part per format: q, k and v of one product may be stored with different bits."""

    parts: tuple[GroupCodes, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return sum(part.shape[0] for part in self.parts), self.parts[0].shape[1]

    def dequantize(self) -> Tensor:
        return torch.cat([part.dequantize(torch.float32) for part in self.parts])

    def rows(self, ids: Tensor) -> Tensor:
        """Of a stack of one part, as an embedding is."""
        (part,) = self.parts
        return part.rows(ids)

    def to(self, device: torch.device) -> CodesStack:
        return CodesStack(tuple(part.to(device) for part in self.parts))


def pack(codes: Tensor, scales: Tensor, mins: Tensor | None, *, bits: int) -> GroupCodes:
    """``codes`` uint8 [out, in]. Raises ValueError for what the kernel does not read."""
    out, size = codes.shape
    groups = scales.shape[1]
    if bits not in (4, 8) or size % RUN or size % groups or size // groups % 16:
        raise ValueError(f"no kernel for {bits} bits, {size} inputs in {groups} groups: 4 or 8 bits, inputs by {RUN}")
    if bits == 4:
        runs = codes.view(out, size // RUN, 2, RUN // 2)
        codes = (runs[:, :, 0] & 15 | runs[:, :, 1] << 4).view(out, size // 2)
    mins = None if mins is None else mins.half().contiguous()
    return GroupCodes(codes.contiguous(), scales.half().contiguous(), mins, bits)


def codes_of(weight: Grouped) -> GroupCodes:
    """The same weight in this layout. Symmetric codes of 5 and 6 bits are widened to 8 by moving their zero."""
    codes, scales, mins = unpack(weight)
    if weight.bits == 4:
        return pack(codes, scales, mins, bits=4)
    assert not weight.affine, "every affine format of the files has 4 bits"
    return pack(codes + (128 - (1 << (weight.bits - 1))), scales, None, bits=8)


def stack_codes(parts: Sequence[Grouped]) -> CodesStack:
    """Neighbours of one format become one part: one launch computes them."""
    stacked = []
    for _, same in groupby(map(codes_of, parts), key=lambda part: (part.bits, part.group, part.mins is None)):
        run = list(same)
        mins = [part.mins for part in run if part.mins is not None]
        stacked.append(
            GroupCodes(
                torch.cat([part.codes for part in run]),
                torch.cat([part.scales for part in run]),
                torch.cat(mins) if mins else None,
                run[0].bits,
            )
        )
    return CodesStack(tuple(stacked))
