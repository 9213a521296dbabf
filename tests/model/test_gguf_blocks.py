"""Repacked GGUF blocks against gguf's own dequantisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

from holefill.model.gguf_blocks import FORMATS, grouped_from_gguf

HALF_ROUNDING = 2.0**-11  # of a scale product to fp16


def random_blocks(kind: GGMLQuantizationType, rows: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    block, block_bytes = GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (rows, size // block, block_bytes), dtype=np.uint8)
    scale = rng.uniform(0.001, 0.01, (rows, size // block, 1)).astype(np.float16).view(np.uint8)
    starts = {"Q8_0": [0], "Q5_0": [0], "Q4_K": [0, 2], "Q6_K": [208]}[kind.name]
    for start in starts:
        data[:, :, start : start + 2] = scale
    return data.reshape(rows, -1)


@pytest.mark.parametrize("kind", list(FORMATS), ids=lambda kind: kind.name)
@pytest.mark.parametrize("rows", [1, 16, 37])
def test_repacked_equals_dequantised(kind: GGMLQuantizationType, rows: int) -> None:
    data = random_blocks(kind, rows, 512)
    expected = torch.from_numpy(quants.dequantize(data, kind).reshape(rows, 512))
    grouped = grouped_from_gguf(data, kind, (rows, 512))
    assert grouped is not None
    ours = grouped.dequantize()
    peak = expected.abs().max().item()
    bound = 0.0 if kind.name in ("Q8_0", "Q5_0") else 4 * HALF_ROUNDING * peak
    assert (ours - expected).abs().max().item() <= bound
    data[0, 60] ^= 1  # one bit of a code
    changed = grouped_from_gguf(data, kind, (rows, 512))
    assert changed is not None
    assert not torch.equal(changed.dequantize(), ours)


def test_other_block_types_are_left_to_the_torch_path() -> None:
    data = np.zeros((4, 18 * 2), np.uint8)
    assert grouped_from_gguf(data, GGMLQuantizationType.Q4_0, (4, 64)) is None
