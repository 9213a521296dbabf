"""Adapters on a tiny model: zero changes nothing, added equals merged, a wrong base is refused, rows stay exact."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from holefill.kernels import grouped_linear
from holefill.kernels.grouped_linear import GroupedStack, quantize_groups
from holefill.kernels.quant_linear import quantize_rows
from holefill.model import shipped
from holefill.model.adapter_file import (
    Adapter,
    AdapterCard,
    AdapterError,
    base_hash,
    load_adapter,
    make_adapter,
    read_card,
    save_adapter,
)
from holefill.model.adapters import AdaptableLinear, addition, merge_into, merged
from holefill.model.checkpoint import open_checkpoint
from holefill.model.training.network import LoraShape, Packed, TrainableNetwork, new_factors
from holefill.model.transformer import Transformer, WeightFormat
from holefill.model.weights import load_dense

IDS = torch.arange(20, 60)


def random_factors(transformer: Transformer, std: float = 0.2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    factors = new_factors(transformer.config, LoraShape(rank=4), seed=5)
    return {
        name: torch.empty_like(factor).normal_(std=std, generator=generator) if name.endswith(".b") else factor.detach()
        for name, factor in factors.items()
    }


@pytest.fixture
def transformer(tiny_folder: Path) -> Transformer:
    return Transformer.load(tiny_folder, device="cpu", weights="fp32")


@pytest.fixture
def adapter(transformer: Transformer) -> Adapter:
    return make_adapter(AdapterCard("base"), random_factors(transformer))


def logits(transformer: Transformer) -> Tensor:
    return transformer.forward(IDS, transformer.new_cache(64), logit_rows=torch.arange(len(IDS)))


@pytest.mark.parametrize("weights", ["fp32", "w8a8", "native"])
def test_a_zero_adapter_changes_nothing(tiny_folder: Path, weights: WeightFormat) -> None:
    if weights == "native" and grouped_linear.kernels() is None:
        pytest.skip("the native kernels are not built")
    transformer = Transformer.load(tiny_folder, device="cpu", weights=weights)
    before = logits(transformer)
    fresh = {name: factor.detach() for name, factor in new_factors(transformer.config, LoraShape(), 0).items()}
    transformer.adapt(make_adapter(AdapterCard(""), fresh))
    assert torch.allclose(logits(transformer), before, atol=1e-6)


def test_added_is_merged_is_what_was_trained(tiny_folder: Path, transformer: Transformer, adapter: Adapter) -> None:
    dense = load_dense(open_checkpoint(tiny_folder), torch.float32, torch.device("cpu"))
    plain = logits(transformer)
    transformer.adapt(adapter)
    added = logits(transformer)
    assert not torch.allclose(added, plain, atol=0.1)
    assert torch.allclose(logits(Transformer(merged(dense, adapter))), added, atol=1e-3)
    packed = Packed(IDS, torch.arange(len(IDS)), (len(IDS),), torch.arange(len(IDS)), IDS)
    assert torch.allclose(TrainableNetwork(dense, adapter.factors, 1.0).logits(packed), added, atol=1e-3)


def test_an_adapter_can_be_taken_out_again(transformer: Transformer, adapter: Adapter) -> None:
    before = logits(transformer)
    transformer.adapt(adapter)
    transformer.adapt(None)
    assert torch.equal(logits(transformer), before)


def test_eight_bit_factors_are_within_their_error() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b, x = (torch.randn(*size, generator=generator) for size in ((16, 96), (80, 16), (9, 96)))
    exact = addition(a, b, "reference")(x)
    for backend in ("torch", "native"):
        error = (addition(a, b, backend)(x) - exact).norm() / exact.norm()
        assert error < 0.02, backend


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_a_row_does_not_depend_on_the_others(backend: str) -> None:
    """Speculation is lossless only so."""
    if backend == "native" and grouped_linear.kernels() is None:
        pytest.skip("the native kernels are not built")
    generator = torch.Generator().manual_seed(2)
    a, b, x = (torch.randn(*size, generator=generator) for size in ((16, 96), (80, 16), (33, 96)))
    weight = torch.randn(80, 96, generator=generator)
    stored = GroupedStack((quantize_groups(weight),)) if backend == "native" else quantize_rows(weight)
    linear = AdaptableLinear("layers.0.o", stored, backend=backend)
    linear.adapt(make_adapter(AdapterCard(""), {"layers.0.o.a": a, "layers.0.o.b": b}))
    together = linear(x)
    assert all(torch.equal(linear(x[row : row + 1])[0], together[row]) for row in range(len(x)))


def test_merging_rounds_to_the_type_of_the_weights() -> None:
    weight = torch.ones(4, 3, dtype=torch.bfloat16)
    out = merge_into(weight, torch.ones(1, 3), torch.full((4, 1), 0.5))
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, torch.full((4, 3), 1.5, dtype=torch.bfloat16))


def test_a_file_keeps_factors_and_card(tiny_folder: Path, transformer: Transformer, tmp_path: Path) -> None:
    card = AdapterCard(base_hash(tiny_folder), "data", "commit", "recipe", {"em": 1.5})
    path = tmp_path / "adapter.safetensors"
    saved = save_adapter(path, card, random_factors(transformer))
    loaded = load_adapter(path, tiny_folder, transformer.config)
    assert read_card(path) == loaded.card == card
    assert loaded.key == saved.key
    assert all(torch.equal(loaded.factors[name], factor) for name, factor in saved.factors.items())
    served = Transformer.load(tiny_folder, device="cpu", weights="fp32", adapter=path)
    transformer.adapt(loaded)
    assert torch.equal(logits(served), logits(transformer))


def test_the_key_tells_adapters_apart(transformer: Transformer) -> None:
    one, other = random_factors(transformer), random_factors(transformer, std=0.1)
    keys = {make_adapter(AdapterCard(""), factors).key for factors in (one, other, one)}
    assert len(keys) == 2


def test_a_wrong_base_is_refused_and_a_copy_is_not(tiny_folder: Path, transformer: Transformer, tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, AdapterCard(base_hash(tiny_folder)), random_factors(transformer))
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    load_adapter(path, copy, transformer.config)
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(AdapterError, match="other weights"):
        load_adapter(path, copy, transformer.config)


def test_an_adapter_on_top_of_a_shipped_one_adds_to_it(
    tiny_folder: Path, transformer: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "shipped")
    base = base_hash(tiny_folder)
    under, path = tmp_path / "shipped" / "m.safetensors", tmp_path / "tuned.safetensors"
    lower = save_adapter(under, AdapterCard(base), random_factors(transformer)).factors
    card = AdapterCard(base, beneath=shipped.file_key(under))
    upper = save_adapter(path, card, random_factors(transformer, std=0.1)).factors
    loaded = load_adapter(path, tiny_folder, transformer.config)
    for name in loaded.factors:
        if name.endswith(".a"):
            slot = name.removesuffix(".a")
            pair = loaded.pair(slot)
            assert pair is not None
            a, b = pair
            both = sum(one[f"{slot}.b"].float() @ one[f"{slot}.a"].float() for one in (lower, upper))
            torch.testing.assert_close(b.float() @ a.float(), both)
    save_adapter(under, AdapterCard(base), upper)  # another version of holefill
    with pytest.raises(AdapterError, match="holefill tune"):
        load_adapter(path, tiny_folder, transformer.config)


def test_damage_is_refused_with_a_way_out(tiny_folder: Path, transformer: Transformer, tmp_path: Path) -> None:
    path, factors = tmp_path / "adapter.safetensors", random_factors(transformer)
    with pytest.raises(AdapterError, match="cannot be read"):
        read_card(path)
    path.write_bytes(b"no safetensors")
    with pytest.raises(AdapterError, match="cannot be read"):
        read_card(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(AdapterError, match="no card"):
        read_card(path)
    card = AdapterCard(base_hash(tiny_folder))
    save_adapter(path, card, {**factors, "layers.0.o.a": torch.zeros(4, 31)})
    with pytest.raises(AdapterError, match=r"layers\.0\.o\.a"):
        load_adapter(path, tiny_folder, transformer.config)
    save_adapter(path, card, {**factors, "layers.9.o.a": torch.zeros(4, 32), "layers.9.o.b": torch.zeros(32, 4)})
    with pytest.raises(AdapterError, match=r"layers\.9\.o"):
        load_adapter(path, tiny_folder, transformer.config)
    save_adapter(path, AdapterCard(card.base, version=99), factors)
    with pytest.raises(AdapterError, match="format 99"):
        load_adapter(path, tiny_folder, transformer.config)
