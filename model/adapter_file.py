"""A low-rank adapter on disk: safetensors with what it was trained on, and from what, in its metadata.

Tensors ``layers.N.SLOT.a`` [r, in] and ``.b`` [out, r] in bf16, the scale already in ``b``: y += (x aᵀ) bᵀ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from holefill.model.config import ModelConfig
from holefill.model.errors import ModelError
from holefill.model.packed import SAMPLE_BYTES
from holefill.model.shipped import shipped_with
from holefill.model.weights import slots

ADAPTER_VERSION = 1
"""Raise it when the same tensors would mean another addition."""
ADAPTED = ("qkv", "o", "gate_up", "down")


class AdapterError(ModelError):
    """An adapter that does not fit its base model, or is damaged."""


@dataclass(frozen=True, slots=True)
class AdapterCard:
    """What an adapter says of itself."""

    base: str
    """``base_hash`` of the model it was trained on."""
    data: str = ""
    """Hash of the data manifest."""
    commit: str = ""
    recipe: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    version: int = ADAPTER_VERSION
    beneath: str = ""
    """``file_key`` of the shipped adapter that it was trained on top of; both are added."""


@dataclass(frozen=True, slots=True)
class Adapter:
    card: AdapterCard
    factors: Mapping[str, Tensor]
    key: str
    """Hash of the factors: caches of one adapter's answers must not serve another's."""

    def pair(self, slot: str) -> tuple[Tensor, Tensor] | None:
        a, b = self.factors.get(f"{slot}.a"), self.factors.get(f"{slot}.b")
        return None if a is None or b is None else (a, b)


def make_adapter(card: AdapterCard, factors: Mapping[str, Tensor]) -> Adapter:
    digest = hashlib.sha256()
    for name in sorted(factors):
        digest.update(name.encode())
        digest.update(factors[name].contiguous().view(torch.uint8).numpy().tobytes())
    return Adapter(card, dict(factors), digest.hexdigest()[:16])


def base_hash(path: Path) -> str:
    """Of the weights' bytes: size and 16 samples of 1 MiB of every file; a copy elsewhere has the same.

    A full hash of 0.4–5 GB would cost seconds at every start; other weights of the same size differ in every sample.
    """
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    try:
        for file in files:
            size = file.stat().st_size
            digest.update(f"{size}\n".encode())
            with file.open("rb") as stream:
                for part in range(16):
                    stream.seek(max(0, size - SAMPLE_BYTES) * part // 15)
                    digest.update(stream.read(SAMPLE_BYTES))
    except OSError as error:
        raise AdapterError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()[:32]


def save_adapter(path: Path, card: AdapterCard, factors: Mapping[str, Tensor]) -> Adapter:
    """Rounds to bf16 and renames into place; returns what a reader will get."""
    rounded = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in factors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    save_file(rounded, temporary, metadata={"holefill": json.dumps(asdict(card))})
    temporary.replace(path)
    return make_adapter(card, rounded)


def read_card(path: Path) -> AdapterCard:
    """The metadata alone."""
    try:
        with safe_open(path, "pt") as opened:
            text = (opened.metadata() or {}).get("holefill")
        if text is None:
            raise AdapterError(f"{path} is no adapter of holefill: it has no card in its metadata")
        card = AdapterCard(**json.loads(text))
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise AdapterError(
            f"{path} cannot be read as an adapter ({error}): train it again or fetch it again"
        ) from error
    if card.version != ADAPTER_VERSION:
        raise AdapterError(f"{path} has format {card.version}, this version reads {ADAPTER_VERSION}: train it again")
    return card


def load_adapter(path: Path, base: Path, config: ModelConfig) -> Adapter:
    """With the shipped adapter that it was trained on top of, if any.

    Raises AdapterError when it was trained on other weights than those at ``base``, on an adapter that is not here, or
    has other shapes.
    """
    card = read_card(path)
    actual = base_hash(base)
    if card.base != actual:
        raise AdapterError(
            f"{path.name} was trained on other weights ({card.base[:12]}) than {base.name} ({actual[:12]}): "
            "use the base model it names in its card, or train it for this one"
        )
    try:
        with safe_open(path, "pt") as opened:
            factors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} is damaged ({error}): fetch it again") from error
    _check_shapes(path, factors, config)
    if card.beneath:
        under = shipped_with(card.beneath)
        if under is None:
            raise AdapterError(
                f"{path.name} was trained on top of an adapter that this version of holefill does not have: "
                "run `holefill tune` again"
            )
        factors = stacked(load_adapter(under, base, config).factors, factors)
    return make_adapter(card, factors)


def stacked(lower: Mapping[str, Tensor], upper: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Factors whose addition is the sum of both: their ranks side by side."""
    sides = {"a": 0, "b": 1}
    joined = {name: torch.cat((lower[name], upper[name]), sides[name[-1]]) for name in lower.keys() & upper.keys()}
    return {**lower, **upper, **joined}


def _check_shapes(path: Path, factors: Mapping[str, Tensor], config: ModelConfig) -> None:
    shapes = {slot.name: slot.shape for slot in slots(config) if slot.name.rpartition(".")[2] in ADAPTED}
    for name, tensor in factors.items():
        slot, _, side = name.rpartition(".")
        shape = shapes.get(slot)
        other = factors.get(f"{slot}.{'b' if side == 'a' else 'a'}")
        fits = shape is not None and other is not None and side in ("a", "b") and tensor.dim() == other.dim() == 2
        if fits and shape is not None and other is not None:
            fits = (
                tensor.shape[1] == shape[1] and tensor.shape[0] == other.shape[1]
                if side == "a"
                else (tensor.shape[0] == shape[0])
            )
        if not fits:
            raise AdapterError(f"{path.name}: {name} {tuple(tensor.shape)} does not fit the model; train it again")
