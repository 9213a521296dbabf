"""Checkpoints on disk → parts in fp32: a GGUF file, or a Hugging Face folder (config.json + safetensors)."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holefill.kernels.grouped_linear import Grouped
from holefill.model import config as model_config
from holefill.model.config import FAMILIES, ModelConfig
from holefill.model.errors import CheckpointError
from holefill.model.gguf_header import read_gguf_metadata
from holefill.model.weights import Source

# Part name → name in the file. Both families use the same names; one that differs gets its own two columns.
GGUF_NAMES: Mapping[str, str] = {
    "embed": "token_embd.weight",
    "norm": "output_norm.weight",
    "head": "output.weight",
    "attn_norm": "attn_norm.weight",
    "q": "attn_q.weight",
    "k": "attn_k.weight",
    "v": "attn_v.weight",
    "q_bias": "attn_q.bias",
    "k_bias": "attn_k.bias",
    "v_bias": "attn_v.bias",
    "o": "attn_output.weight",
    "mlp_norm": "ffn_norm.weight",
    "gate": "ffn_gate.weight",
    "up": "ffn_up.weight",
    "down": "ffn_down.weight",
}
HUGGING_FACE_NAMES: Mapping[str, str] = {
    "embed": "model.embed_tokens.weight",
    "norm": "model.norm.weight",
    "head": "lm_head.weight",
    "attn_norm": "input_layernorm.weight",
    "q": "self_attn.q_proj.weight",
    "k": "self_attn.k_proj.weight",
    "v": "self_attn.v_proj.weight",
    "q_bias": "self_attn.q_proj.bias",
    "k_bias": "self_attn.k_proj.bias",
    "v_bias": "self_attn.v_proj.bias",
    "o": "self_attn.o_proj.weight",
    "mlp_norm": "post_attention_layernorm.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
}


def file_name(part: str, names: Mapping[str, str], layers_prefix: str) -> str:
    """``layers.3.q`` → ``blk.3.attn_q.weight`` or ``model.layers.3.self_attn.q_proj.weight``."""
    if not part.startswith("layers."):
        return names[part]
    _, layer, leaf = part.split(".")
    return f"{layers_prefix}.{layer}.{names[leaf]}"


def open_checkpoint(path: Path) -> Source:
    """Reads headers only. Raises CheckpointError on what is missing, damaged or of an unsupported architecture."""
    if path.is_dir():
        return HuggingFaceSource(path)
    if path.is_file():
        return GgufSource(path)
    raise CheckpointError(f"there is no model at {path}; name a GGUF file or a folder with config.json and safetensors")


class GgufSource:
    """Tensors of one GGUF file, dequantised on demand by gguf-py (the format's own reference code)."""

    def __init__(self, path: Path) -> None:
        metadata = read_gguf_metadata(path)  # before gguf-py: it is 20 times faster to refuse a foreign file
        model_config.family_of(metadata.get("general.architecture"))
        from gguf import GGUFReader  # slow to import, and not needed when the packed file is there

        self._path = path
        try:
            self._tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
        except (ValueError, IndexError, KeyError, OverflowError, struct.error) as error:
            raise CheckpointError(f"{path} is truncated or damaged ({error}); fetch it again") from error
        embed = self._tensors.get(GGUF_NAMES["embed"])
        if embed is None:
            raise CheckpointError(f"{path} holds no {GGUF_NAMES['embed']}: it is not a language model")
        factors = self._tensors.get("rope_freqs.weight")
        self.config: ModelConfig = model_config.from_gguf(
            metadata,
            vocab_size=int(embed.shape[1]),  # GGUF lists dimensions innermost first
            tied_head=GGUF_NAMES["head"] not in self._tensors,
            rope_divisors=None if factors is None else tuple(float(value) for value in factors.data),
        )

    def read(self, name: str) -> Tensor:
        from gguf import dequantize

        stored = self._tensors.get(file_name(name, GGUF_NAMES, "blk"))
        if stored is None:
            raise CheckpointError(f"{self._path} has no tensor for {name}; fetch it again")
        try:
            values = dequantize(stored.data, stored.tensor_type)
        except NotImplementedError as error:
            kind = stored.tensor_type.name
            raise CheckpointError(
                f"{self._path} stores {name} as {kind}, unknown to gguf-py; choose another file"
            ) from error
        tensor = torch.from_numpy(values.astype("float32", copy=not values.flags.writeable))
        return self._half_split(tensor, name.rpartition(".")[2])

    def grouped(self, name: str) -> Grouped | None:
        from holefill.model.gguf_blocks import grouped_from_gguf

        stored = self._tensors.get(file_name(name, GGUF_NAMES, "blk"))
        if stored is None or len(stored.shape) != 2:
            return None
        data = stored.data if stored.data.flags.writeable else stored.data.copy()
        rows = self._half_split(torch.from_numpy(data), name.rpartition(".")[2])
        size, out = (int(length) for length in stored.shape)
        return grouped_from_gguf(rows.numpy(), stored.tensor_type, (out, size))

    def _half_split(self, rows: Tensor, leaf: str) -> Tensor:
        """Undo llama.cpp's permutation: per head, (pair, half) back to (half, pair)."""
        if leaf not in ("q", "k") or not FAMILIES[self.config.family].gguf_permuted:
            return rows
        heads = self.config.heads if leaf == "q" else self.config.kv_heads
        return rows.view(heads, self.config.head_dim // 2, 2, -1).transpose(1, 2).reshape(rows.shape)


class HuggingFaceSource:
    """Tensors of a folder of safetensors, one file or several with an index."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.config: ModelConfig = model_config.from_hugging_face(self._json("config.json"))
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            files = sorted(set(self._json(index.name)["weight_map"].values()))
        else:
            files = sorted(path.name for path in folder.glob("*.safetensors"))
        if not files:
            raise CheckpointError(f"{folder} holds no *.safetensors; convert the model to safetensors first")
        self._handles = [self._open(folder / name) for name in files]
        self._where = {key: handle for handle in self._handles for key in handle.keys()}  # noqa: SIM118

    def read(self, name: str) -> Tensor:
        key = file_name(name, HUGGING_FACE_NAMES, "model.layers")
        if key not in self._where:
            raise CheckpointError(f"{self._folder} has no tensor {key}; fetch the model again")
        tensor: Tensor = self._where[key].get_tensor(key)
        return tensor.float()

    def grouped(self, name: str) -> None:
        return None

    def _json(self, name: str) -> Any:
        path = self._folder / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CheckpointError(f"{self._folder} holds no {name}: it is not a Hugging Face model folder") from error
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}); fetch it again") from error

    def _open(self, path: Path) -> Any:
        from safetensors import SafetensorError, safe_open

        try:
            return safe_open(path, framework="pt")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} is missing, truncated or damaged ({error}); fetch it again") from error
