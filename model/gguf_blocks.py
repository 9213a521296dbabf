"""GGUF blocks → codes, scales and minimums of ``kernels.grouped_linear``: no fp32 weight in between.

Block layouts: ggml-common.h and ggml-quants.c (`dequantize_row_*`) of https://github.com/ggml-org/ggml.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Kind

from holefill.kernels.grouped_linear import Grouped, pack

Blocks = npt.NDArray[np.uint8]
"""[out, blocks, bytes of a block]"""
Halves = npt.NDArray[np.float16]
Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class BlockFormat:
    block_size: int
    block_bytes: int
    bits: int
    group: int
    split: Callable[[Blocks], tuple[Codes, Halves, Halves | None]]


def grouped_from_gguf(data: npt.NDArray[np.uint8], kind: Kind, shape: tuple[int, int]) -> Grouped | None:
    """Repack one matrix [out, in], or None when the native kernels have no format for its block type."""
    layout = FORMATS.get(kind)
    if layout is None or shape[1] % layout.block_size:
        return None
    codes, scales, mins = layout.split(data.reshape(shape[0], -1, layout.block_bytes))
    return pack(codes.reshape(shape), scales, mins, bits=layout.bits, group=layout.group)


def _half(blocks: Blocks, start: int) -> Halves:
    return np.ascontiguousarray(blocks[:, :, start : start + 2]).view(np.float16)[:, :, 0]


def _q8_0(blocks: Blocks) -> tuple[Codes, Halves, Halves | None]:
    return blocks[:, :, 2:] ^ np.uint8(128), _half(blocks, 0), None  # int8 + 128, as a change of the sign bit


def _q5_0(blocks: Blocks) -> tuple[Codes, Halves, Halves | None]:
    high = np.unpackbits(blocks[:, :, 2:6], axis=2, bitorder="little")
    low = blocks[:, :, 6:]
    return np.concatenate([low & 15, low >> 4], axis=2) | high << 4, _half(blocks, 0), None


def _q4_k(blocks: Blocks) -> tuple[Codes, Halves, Halves | None]:
    packed = blocks[:, :, 4:16]
    first, middle, last = packed[:, :, :4], packed[:, :, 4:8], packed[:, :, 8:]
    scales = np.concatenate([first & 63, (last & 15) | (first >> 6) << 4], axis=2)
    mins = np.concatenate([middle & 63, last >> 4 | (middle >> 6) << 4], axis=2)
    nibbles = blocks[:, :, 16:].reshape(*blocks.shape[:2], 4, 32)
    codes = np.stack([nibbles & 15, nibbles >> 4], axis=3)  # of each 64 weights: 32 low nibbles, then 32 high
    unit, least = (_half(blocks, at).astype(np.float32)[:, :, None] for at in (0, 2))
    return codes, _flat(unit * scales), _flat(-least * mins)


def _q6_k(blocks: Blocks) -> tuple[Codes, Halves, Halves | None]:
    low = blocks[:, :, :128].reshape(*blocks.shape[:2], 2, 2, 32)  # half, row, lane
    high = blocks[:, :, 128:192].reshape(*blocks.shape[:2], 2, 1, 32)
    codes = np.concatenate(
        [(low & 15) | (high >> np.array([[0], [2]], np.uint8) & 3) << 4,
         (low >> 4) | (high >> np.array([[4], [6]], np.uint8) & 3) << 4],
        axis=3,
    )  # fmt: skip
    scales = blocks[:, :, 192:208].view(np.int8).astype(np.float32)
    return codes, _flat(_half(blocks, 208).astype(np.float32)[:, :, None] * scales), None


def _flat(values: npt.NDArray[np.float32]) -> Halves:
    return values.reshape(values.shape[0], -1).astype(np.float16)


FORMATS: Mapping[Kind, BlockFormat] = {
    Kind.Q8_0: BlockFormat(32, 34, 8, 32, _q8_0),
    Kind.Q5_0: BlockFormat(32, 22, 5, 32, _q5_0),
    Kind.Q4_K: BlockFormat(256, 144, 4, 32, _q4_k),
    Kind.Q6_K: BlockFormat(256, 210, 6, 16, _q6_k),
}
