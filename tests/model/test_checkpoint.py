"""GGUF files and Hugging Face folders give the same model; what cannot be read is refused, naming the fix."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quantize
from transformers import LlamaConfig, PreTrainedModel, Qwen2Config

from holefill.model.checkpoint import GGUF_NAMES, HUGGING_FACE_NAMES, file_name, open_checkpoint
from holefill.model.config import ModelConfig
from holefill.model.errors import CheckpointError
from holefill.model.gguf_header import read_gguf_metadata
from holefill.model.transformer import Transformer
from holefill.model.weights import slots
from tests.model.conftest import Sizes, random_network

SIZES: Sizes = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
CONFIGS = {
    "qwen2": Qwen2Config(**SIZES, num_key_value_heads=2, tie_word_embeddings=True),
    "llama": LlamaConfig(**SIZES, num_key_value_heads=2, tie_word_embeddings=False),
}
IDS = torch.arange(5, 45)


def save(folder: Path, family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = random_network(CONFIGS[family])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.3)
    model.save_pretrained(folder)
    return model


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's own permutation of q and k (convert_hf_to_gguf.py, LlamaModel.permute)."""
    return rows.reshape(heads, 2, len(rows) // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def write_gguf(path: Path, model: torch.nn.Module, family: str, kind: GGMLQuantizationType) -> None:
    config, state = CONFIGS[family], model.state_dict()
    writer = GGUFWriter(path, family)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    for slot in slots(open_checkpoint(path.parent).config):
        for part in slot.parts:
            values = state[file_name(part.name, HUGGING_FACE_NAMES, "model.layers")].numpy()
            leaf = part.name.rpartition(".")[2]
            if family == "llama" and leaf in ("q", "k"):
                values = interleaved(values, config.num_attention_heads if leaf == "q" else config.num_key_value_heads)
            stored = kind if values.ndim == 2 else GGMLQuantizationType.F32
            name = file_name(part.name, GGUF_NAMES, "blk")
            writer.add_tensor(name, quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def logits(path: Path) -> torch.Tensor:
    model = Transformer.load(path, device="cpu", weights="fp32")
    return model.forward(IDS, model.new_cache(64), logit_rows=slice(None))


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_gguf_equals_hugging_face(tmp_path: Path, family: str) -> None:
    model = save(tmp_path, family)
    write_gguf(tmp_path / "model.gguf", model, family, GGMLQuantizationType.F32)
    ours = open_checkpoint(tmp_path / "model.gguf").config
    theirs = open_checkpoint(tmp_path).config
    assert (ours.family, ours.tied_head, ours.heads, ours.kv_heads) == (family, theirs.tied_head, 4, 2)
    torch.testing.assert_close(logits(tmp_path / "model.gguf"), logits(tmp_path))


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_quantised_gguf_is_near(tmp_path: Path, family: str) -> None:
    model = save(tmp_path, family)
    write_gguf(tmp_path / "model.gguf", model, family, GGMLQuantizationType.Q8_0)
    near, exact = logits(tmp_path / "model.gguf"), logits(tmp_path)
    assert 0 < float((near - exact).abs().max()) < 0.1 * float(exact.abs().max())


def test_sharded_safetensors(tmp_path: Path) -> None:
    model = save(tmp_path / "one", "llama")
    model.save_pretrained(tmp_path / "many", max_shard_size="40KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 1
    torch.testing.assert_close(logits(tmp_path / "many"), logits(tmp_path / "one"), atol=0, rtol=0)


@pytest.mark.parametrize("fraction", [0.0005, 0.3, 0.9, 0.999])
def test_truncated_gguf(tmp_path: Path, fraction: float) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, save(tmp_path, "qwen2"), "qwen2", GGMLQuantizationType.Q8_0)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(CheckpointError, match=r"fetch it again|not a GGUF"):
        Transformer.load(path, device="cpu")


def test_a_gguf_whose_weights_are_cut_off_is_refused_by_its_header(tmp_path: Path) -> None:
    """So that the language server says it at once, and starts no engine that reads for a minute to find it out."""
    path = tmp_path / "model.gguf"
    write_gguf(path, save(tmp_path, "qwen2"), "qwen2", GGMLQuantizationType.Q8_0)
    assert read_gguf_metadata(path)["general.architecture"] == "qwen2"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(CheckpointError, match=r"last tensor.*fetch it again"):
        read_gguf_metadata(path)


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    foreign = tmp_path / "notes.gguf"
    foreign.write_bytes(b"this is no model" * 1000)
    for path in (foreign, tmp_path / "absent.gguf", tmp_path):
        for weights in ("packed", "fp32"):
            with pytest.raises(CheckpointError):
                Transformer.load(path, device="cpu", weights=weights)


def test_unsupported_architecture_names_what_is_supported(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    with pytest.raises(CheckpointError, match=r"mamba.*llama, qwen2"):
        open_checkpoint(tmp_path)


def test_truncated_safetensors(tmp_path: Path) -> None:
    save(tmp_path, "qwen2")
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="fetch it again"):
        open_checkpoint(tmp_path)


def test_config_survives_json(tmp_path: Path) -> None:
    save(tmp_path, "qwen2")
    config = open_checkpoint(tmp_path).config
    assert ModelConfig.from_json(config.to_json()) == config
