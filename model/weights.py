"""What a transformer is built from: one weight per slot, whatever file it came from and however it is stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from holefill.kernels.group_codes import CodesStack
from holefill.kernels.grouped_linear import Grouped
from holefill.kernels.quant_linear import Weight
from holefill.model.config import ModelConfig
from holefill.model.errors import CheckpointError

Progress = Callable[[str, float], None]
"""What is being done, and the fraction of it that is done."""

Shape = tuple[int, ...]
W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor of a checkpoint under the name all families share: ``layers.3.q``, ``layers.3.q_bias``, ``embed``."""

    name: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Slot:
    """One weight of the transformer: parts that are stacked by rows (q, k, v are one product, so are gate and up)."""

    name: str
    parts: tuple[Part, ...]

    @property
    def is_matrix(self) -> bool:
        return len(self.parts[0].shape) == 2

    @property
    def shape(self) -> Shape:
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])


def slots(config: ModelConfig) -> Iterator[Slot]:
    """Every weight of the model, in the order the forward pass meets them."""
    hidden, inner = config.hidden_size, config.intermediate_size
    widths = {"q": config.heads * config.head_dim, "k": config.kv_heads * config.head_dim}
    widths["v"] = widths["k"]

    def slot(name: str, **parts: Shape) -> Slot:
        at = name.rpartition(".")[0]
        return Slot(name, tuple(Part(f"{at}.{part}" if at else part, shape) for part, shape in parts.items()))

    yield slot("embed", embed=(config.vocab_size, hidden))
    for layer in range(config.layers):
        at = f"layers.{layer}"
        yield slot(f"{at}.attn_norm", attn_norm=(hidden,))
        yield slot(f"{at}.qkv", **{part: (width, hidden) for part, width in widths.items()})
        if config.qkv_bias:
            yield slot(f"{at}.qkv_bias", **{f"{part}_bias": (width,) for part, width in widths.items()})
        yield slot(f"{at}.o", o=(hidden, widths["q"]))
        yield slot(f"{at}.mlp_norm", mlp_norm=(hidden,))
        yield slot(f"{at}.gate_up", gate=(inner, hidden), up=(inner, hidden))
        yield slot(f"{at}.down", down=(hidden, inner))
    yield slot("norm", norm=(hidden,))
    if not config.tied_head:
        yield slot("head", head=(config.vocab_size, hidden))


class Source(Protocol):
    """An opened checkpoint."""

    @property
    def config(self) -> ModelConfig: ...

    def read(self, name: str) -> Tensor:
        """The part of that name in fp32, rotary rows in half-split order. Raises CheckpointError."""
        ...

    def grouped(self, name: str) -> Grouped | None:
        """The same matrix in the file's own codes, or None when the native kernels have no format for them."""
        ...


@dataclass(frozen=True, slots=True)
class Weights:
    config: ModelConfig
    by_slot: Mapping[str, Weight]

    def __getitem__(self, name: str) -> Weight:
        return self.by_slot[name]

    def vector(self, name: str) -> Tensor:
        """A norm or a bias; these are never quantised."""
        value = self.by_slot[name]
        assert isinstance(value, Tensor), name
        return value

    @property
    def head(self) -> Weight:
        return self.by_slot["embed" if self.config.tied_head else "head"]

    def to(self, device: torch.device, dtype: torch.dtype) -> Weights:
        """On a device; ``dtype`` is that of norms, biases and unquantised matrices. Only CodesStacks move."""
        moved: dict[str, Weight] = {}
        for name in self.by_slot:
            weight = self.by_slot[name]
            assert isinstance(weight, Tensor | CodesStack), name
            moved[name] = weight.to(device, dtype) if isinstance(weight, Tensor) else weight.to(device)
        return Weights(self.config, moved)


def each_slot(
    source: Source, make: Callable[[Source, Slot], W], label: str, progress: Progress | None
) -> Iterator[tuple[Slot, W]]:
    """Each slot with what ``make`` reads of it, one at a time, so that no more than one is ever in memory."""
    plan = list(slots(source.config))
    total = sum(math.prod(slot.shape) for slot in plan)
    done = 0
    for slot in plan:
        yield slot, make(source, slot)
        done += math.prod(slot.shape)
        if progress is not None:
            progress(label, done / total)


def read_dense(source: Source, slot: Slot) -> Tensor:
    """The parts of a slot in fp32, stacked by rows."""
    parts = [_checked(source, part) for part in slot.parts]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _checked(source: Source, part: Part) -> Tensor:
    tensor = source.read(part.name)
    if tuple(tensor.shape) != part.shape:
        raise CheckpointError(
            f"{part.name} is {tuple(tensor.shape)} and must be {part.shape} by the model's own header; fetch it again"
        )
    return tensor


def load_dense(source: Source, dtype: torch.dtype, device: torch.device, progress: Progress | None = None) -> Weights:
    """Unquantised weights: fp32 on a CPU for reference, bf16 on a GPU."""
    by_slot: dict[str, Weight] = {
        slot.name: tensor.to(device, dtype)
        for slot, tensor in each_slot(source, read_dense, "reading weights", progress)
    }
    return Weights(source.config, by_slot)
