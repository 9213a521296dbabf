"""``kernels`` of ``Transformer.load``: sets give the same logits, one that cannot run is refused early."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from holefill.model.errors import EngineError
from holefill.model.transformer import Transformer, WeightFormat


def test_reference_kernels_give_the_torch_paths_logits(tiny_folder: Path, tiny_transformer: Transformer) -> None:
    reference = Transformer.load(tiny_folder, device="cpu", weights="fp32", kernels="reference")
    ids = torch.arange(40)
    logits = [
        model.forward(ids, model.new_cache(64), logit_rows=slice(None)) for model in (reference, tiny_transformer)
    ]
    assert reference.kernels.fused == "reference"
    assert tiny_transformer.kernels.fused is None
    torch.testing.assert_close(logits[0], logits[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("weights", ["packed", "fp32"])
def test_triton_without_a_gpu_is_refused_before_anything_is_packed(tiny_folder: Path, weights: WeightFormat) -> None:
    before = sorted(tiny_folder.iterdir())
    with pytest.raises(EngineError, match=r"choose --device cuda|pip install"):
        Transformer.load(tiny_folder, device="cpu", weights=weights, kernels="triton")
    assert sorted(tiny_folder.iterdir()) == before


def test_a_cpu_form_on_a_gpu_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(EngineError, match="choose packed or bf16"):
        Transformer.load(tiny_folder, device="cuda", weights="w8a8")
