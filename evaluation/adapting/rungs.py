"""The ladder of ``holefill tune``: what may be trained, from the cheapest to the dearest. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from holefill.model.config import ModelConfig
from holefill.model.errors import ModelError
from holefill.model.training.network import LoraShape, new_factors

LAST_LAYERS = 4
PREFIX_ROWS = 20
MAX_WHOLE = 20_000_000
"""Numbers a full tuning may train: toys and nothing that serves."""


@dataclass(frozen=True, slots=True)
class Rung:
    shape: Callable[[int], LoraShape]
    """Of the rank that is asked for."""
    rate: float
    """Peak learning rate unless one is given."""
    served: bool = True
    """Whether what it trains is an adapter that the engine can add."""


RUNGS: Mapping[str, Rung] = MappingProxyType(
    {
        "last": Rung(lambda rank: LoraShape(6 * rank, 12.0 * rank, LAST_LAYERS), 1e-3),  # of 24: the size of "lora"
        "prefix": Rung(lambda rank: LoraShape(prefix=PREFIX_ROWS), 1e-2, served=False),
        "lora": Rung(lambda rank: LoraShape(rank, 2.0 * rank), 1e-3),
        "full": Rung(lambda rank: LoraShape(whole=True), 1e-4),
    }
)


def must_serve(name: str) -> None:
    """Raises ModelError for a rung that is there to be compared."""
    if not RUNGS[name].served:
        raise ModelError(
            f"rung {name} trains rows of keys and values, which no engine puts in front of a prompt: "
            "--ladder compares it with the others, --rung lora is served"
        )


def shape_of(name: str, rank: int, config: ModelConfig) -> LoraShape:
    """Raises ModelError for a model too large to be tuned in full."""
    shape = RUNGS[name].shape(rank)
    if shape.whole and _linears(config) > MAX_WHOLE:
        raise ModelError(
            f"full tuning would train {_linears(config) / 1e6:.0f} million numbers, more than {MAX_WHOLE / 1e6:.0f}: "
            "take --rung lora or --rung last"
        )
    return shape


def trained_numbers(config: ModelConfig, shape: LoraShape) -> int:
    return sum(factor.numel() for factor in new_factors(config, shape, 0).values() if factor.requires_grad)


def _linears(config: ModelConfig) -> int:
    attention = 2 * config.hidden_size * (config.heads + config.kv_heads) * config.head_dim
    return config.layers * (attention + 3 * config.hidden_size * config.intermediate_size)
