"""What a loss term is: a loss added to the middle's with a weight, and what it trains beside the adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from holefill.model.training.examples import Example, TokenLabels, TrainingError
from holefill.model.training.network import Packed, TrainableNetwork
from holefill.model.weights import Weights


@dataclass(frozen=True, slots=True)
class Batch:
    """A step's examples, run once: terms that need no other forward read ``states``."""

    network: TrainableNetwork
    examples: Sequence[Example]
    packed: Packed
    states: Tensor
    """[tokens, hidden_size], before the last norm."""


class Term(Protocol):
    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """Trained with the adapter and kept in the state of a run, but not in the adapter."""
        ...

    @property
    def beside(self) -> Mapping[str, Tensor]:
        """Low-rank factors that serve with the adapter's and that the middle's loss does not train; the scale is in
        ``b``. Views of ``parameters``."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """A mean, zero for a batch that has nothing for it. Raises TrainingError for examples without labels."""
        ...


@dataclass(frozen=True, slots=True)
class Setup:
    """What a term is made from."""

    weights: Weights
    seed: int


MakeTerm = Callable[[Setup], Term]


def labels(example: Example) -> TokenLabels:
    if example.labels is None:
        raise TrainingError("the examples have no labels, which this loss term reads: `holefill train data --labels`")
    return example.labels


def first_rows(packed: Packed) -> list[int]:
    """Where each sequence of a batch begins."""
    starts = [0]
    for length in packed.lengths[:-1]:
        starts.append(starts[-1] + length)
    return starts
