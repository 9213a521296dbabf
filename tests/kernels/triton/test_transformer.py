"""A whole model on Triton kernels gives the logits of the reference kernels and of the torch path: chains and trees,
quantised and not. The torch path is held to `transformers` by tests/model/test_transformer.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from holefill.kernels import dispatch
from holefill.kernels.dispatch import Name
from holefill.kernels.group_codes import stack_codes
from holefill.kernels.grouped_linear import quantize_groups
from holefill.kernels.quant_linear import Weight
from holefill.model.config import ModelConfig
from holefill.model.fused import FusedDecoder
from holefill.model.transformer import Transformer
from holefill.model.weights import Weights, slots

QWEN2 = ModelConfig("qwen2", 67, 128, 2, 4, 1, 64, 128, 1024, 1e-6, 10_000.0, qkv_bias=True, tied_head=True)
LLAMA = replace(QWEN2, family="llama", heads=4, kv_heads=2, qkv_bias=False, tied_head=False, rope_theta=500.0)
CONFIGS = {"qwen2": QWEN2, "llama": LLAMA}
TOLERANCE = 2e-4
"""fp32, two layers, logits of order 10: fp32 sums against fp64 ones."""
PARENTS = [-1, 0, 0, 1, 2, 4, 1]
LENGTHS = [0, 1, 17, 130, 513]
COMPUTED = 17


@dataclass(frozen=True, slots=True)
class Tree:
    sees: Tensor
    depth: Tensor


def tree() -> Tree:
    sees = torch.eye(len(PARENTS), dtype=torch.bool)
    for node, parent in enumerate(PARENTS[1:], 1):
        sees[node] |= sees[parent]
    return Tree(sees, sees.sum(1) - 1)


def weights_of(config: ModelConfig, *, codes: bool) -> Weights:
    generator = torch.Generator().manual_seed(5)
    by_slot: dict[str, Weight] = {}
    for slot in slots(config):
        if slot.is_matrix:
            matrix = torch.randn(slot.shape, generator=generator) * 0.1
            by_slot[slot.name] = stack_codes([quantize_groups(matrix)]) if codes else matrix
        else:
            by_slot[slot.name] = 1 + torch.randn(slot.shape, generator=generator) * 0.3
    return Weights(config, by_slot)


def model(config: ModelConfig, kernels: Name, device: str, *, codes: bool = False, graphs: bool = False) -> Transformer:
    weights = weights_of(config, codes=codes).to(torch.device(device), torch.float32)
    backend = "codes" if codes else "torch"
    return Transformer(weights, device=device, backend=backend, kernels=kernels, graphs=graphs)


def logits_of(transformer: Transformer, length: int, sees: Tensor | None) -> Tensor:
    """A prompt of ``length`` rows (a long one drawn, not computed), then the tree's rows, or as many of a chain."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(67, (7,), generator=generator)
    cache = transformer.new_cache(length + 7)
    if length > COMPUTED:
        for buffer in (cache.keys, cache.values):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
        cache.length = length
    elif length:
        prompt = torch.randint(67, (length,), generator=generator)
        transformer.forward(prompt, cache, logit_rows=torch.tensor([], dtype=torch.long))
    positions = None if sees is None else length + tree().depth
    logits = transformer.forward(ids, cache, positions=positions, tree_mask=sees, logit_rows=slice(None))
    assert cache.length == length + 7
    return logits.cpu()


@pytest.mark.parametrize("family", CONFIGS)
def test_triton_reference_and_torch_give_the_same_logits(family: str, device: str) -> None:
    config = CONFIGS[family]
    triton, reference, torch_path = (model(config, kernels, device) for kernels in ("triton", "reference", "torch"))
    assert triton.kernels.fused == "triton"
    for length in LENGTHS if family == "qwen2" else LENGTHS[1:4]:
        for sees in (None, tree().sees):
            logits = logits_of(triton, length, sees)
            expected = logits_of(reference, length, sees)
            assert expected.abs().max() > 1
            torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=0)
            torch.testing.assert_close(expected, logits_of(torch_path, length, sees), atol=TOLERANCE, rtol=0)


def test_quantised_weights(device: str) -> None:
    """q, k and v in one part, the embedding looked up in its codes."""
    triton, reference = (model(QWEN2, kernels, device, codes=True) for kernels in ("triton", "reference"))
    assert triton.kernels.linear.kernels == "triton"
    dense = {
        name: weight if isinstance(weight, Tensor) else weight.dequantize()
        for name, weight in weights_of(QWEN2, codes=True).by_slot.items()
    }
    torch_path = Transformer(Weights(QWEN2, dense))
    for sees in (None, tree().sees):
        expected = logits_of(torch_path, 17, sees)
        torch.testing.assert_close(logits_of(triton, 17, sees), expected, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(logits_of(reference, 17, sees), expected, atol=TOLERANCE, rtol=0)


def test_planted_faults_are_noticed(device: str) -> None:
    """One ancestor bit, the prefix part lost, heads of another key: each moves some logit by far more."""
    transformer, plain = model(QWEN2, "triton", device), tree().sees
    expected = logits_of(transformer, 17, plain)
    wrong = plain.clone()
    wrong[6, 2] = True
    assert (logits_of(transformer, 17, wrong) - expected)[6].abs().max() > 50 * TOLERANCE
    assert (logits_of(transformer, 17, wrong) - expected)[:6].abs().max() == 0
    forwards = transformer._forwards
    assert forwards is not None
    attend = dispatch.ops("triton").attend
    for fault in (
        lambda queries, sources, scale: attend(queries, sources[1:], scale),
        lambda queries, sources, scale: attend(queries.roll(1, dims=1), sources, scale),
    ):
        planted = model(QWEN2, "triton", device)
        assert planted._forwards is not None
        decoder: FusedDecoder = planted._forwards._decoder
        for block in decoder._blocks:
            block._ops = replace(block._ops, attend=lambda *a, fault=fault: fault(*a) if len(a[1]) > 1 else attend(*a))
        assert (logits_of(planted, 17, plain) - expected).abs().max() > 50 * TOLERANCE
