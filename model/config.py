"""What a decoder of the qwen2 or llama family is made of, from GGUF metadata or a Hugging Face config.json."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holefill.model.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Family:
    """How one architecture differs from the others; everything else is in the config fields."""

    qkv_bias: bool
    gguf_permuted: bool
    """llama.cpp stores q and k rows in interleaved rotary order (convert_hf_to_gguf.py, ``permute``)."""


FAMILIES: Mapping[str, Family] = {
    "qwen2": Family(qkv_bias=True, gguf_permuted=False),
    "llama": Family(qkv_bias=False, gguf_permuted=True),
}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    family: str
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    max_context: int
    rms_eps: float
    rope_theta: float
    qkv_bias: bool
    tied_head: bool
    rope_divisors: tuple[float, ...] | None = None
    """One divisor per rotary frequency (head_dim / 2 of them): linear and llama3 context scaling."""

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads or self.head_dim % 2:
            raise CheckpointError(
                f"impossible shape: {self.heads} heads, {self.kv_heads} KV heads, size {self.head_dim}"
            )
        if self.rope_divisors is not None and len(self.rope_divisors) != self.head_dim // 2:
            raise CheckpointError(f"{len(self.rope_divisors)} rope factors for heads of size {self.head_dim}")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        fields = json.loads(text)
        if fields["rope_divisors"] is not None:
            fields["rope_divisors"] = tuple(fields["rope_divisors"])
        return cls(**fields)


def family_of(architecture: object) -> Family:
    """Raises CheckpointError for an architecture this transformer does not implement."""
    family = FAMILIES.get(str(architecture))
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise CheckpointError(
            f"architecture {architecture!r} is not supported; choose a model of one of these: {known}"
        )
    return family


def from_gguf(
    metadata: Mapping[str, Any], vocab_size: int, *, tied_head: bool, rope_divisors: tuple[float, ...] | None
) -> ModelConfig:
    """``metadata``: key → value of the GGUF header; the two facts that live in its tensors are passed beside it."""
    architecture = str(metadata.get("general.architecture"))
    family = family_of(architecture)

    def field(name: str, default: Any = None) -> Any:
        value = metadata.get(f"{architecture}.{name}", default)
        if value is None:
            raise CheckpointError(f"the GGUF header has no {architecture}.{name}; fetch the file again")
        return value

    heads, hidden = int(field("attention.head_count")), int(field("embedding_length"))
    head_dim = int(field("attention.key_length", hidden // heads))
    scaling = field("rope.scaling.type", "none")
    if scaling == "linear" and rope_divisors is None:
        rope_divisors = (float(field("rope.scaling.factor")),) * (head_dim // 2)
    elif scaling not in ("none", "linear") and rope_divisors is None:
        raise CheckpointError(f"rope scaling {scaling!r} is not supported; choose another model")
    return ModelConfig(
        family=architecture,
        vocab_size=vocab_size,
        hidden_size=hidden,
        layers=int(field("block_count")),
        heads=heads,
        kv_heads=int(field("attention.head_count_kv", heads)),
        head_dim=head_dim,
        intermediate_size=int(field("feed_forward_length")),
        max_context=int(field("context_length")),
        rms_eps=float(field("attention.layer_norm_rms_epsilon")),
        rope_theta=float(field("rope.freq_base", 10_000.0)),
        qkv_bias=family.qkv_bias,
        tied_head=tied_head,
        rope_divisors=rope_divisors,
    )


def from_hugging_face(config: Mapping[str, Any]) -> ModelConfig:
    """``config``: the parsed config.json, of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters)."""
    family = family_of(config.get("model_type"))
    missing = {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"} - set(
        config
    )
    if missing:
        raise CheckpointError(f"config.json lacks {', '.join(sorted(missing))}; fetch the model again")
    refused = [name for name in ("use_sliding_window", "mlp_bias", "attention_bias") if config.get(name)]
    if refused or config.get("hidden_act", "silu") != "silu":
        raise CheckpointError(
            f"config.json asks for {', '.join(refused) or config['hidden_act']}, which is not supported"
        )
    heads = int(config["num_attention_heads"])
    head_dim = int(config.get("head_dim") or config["hidden_size"] // heads)
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    theta = float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0)
    return ModelConfig(
        family=str(config["model_type"]),
        vocab_size=int(config["vocab_size"]),
        hidden_size=int(config["hidden_size"]),
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=head_dim,
        intermediate_size=int(config["intermediate_size"]),
        max_context=int(config.get("max_position_embeddings", 4096)),
        rms_eps=float(config.get("rms_norm_eps", 1e-6)),
        rope_theta=theta,
        qkv_bias=family.qkv_bias,
        tied_head=bool(config.get("tie_word_embeddings", False)),
        rope_divisors=_divisors(rope, theta, head_dim),
    )


def _divisors(rope: Mapping[str, Any], theta: float, head_dim: int) -> tuple[float, ...] | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return (float(rope["factor"]),) * (head_dim // 2)
    if kind != "llama3":
        raise CheckpointError(f"rope scaling {kind!r} is not supported; choose another model")
    factor, low, high = float(rope["factor"]), float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    trained = float(rope["original_max_position_embeddings"])

    def divisor(index: int) -> float:  # Llama 3.1: long waves are stretched, short ones kept, the middle blended
        turns: float = trained / (2 * math.pi * theta ** (2 * index / head_dim))
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        return 1.0 / ((1 - smooth) / factor + smooth)

    return tuple(divisor(index) for index in range(head_dim // 2))
