"""Augmentation: the same hole under other names for what is bound around it, learned like the hole itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from holefill.model.training.examples import Example
from holefill.model.training.network import Packed
from holefill.model.training.terms.term import Batch, Setup, labels


class Renaming:
    """A second forward, of the twins."""

    def __init__(self, setup: Setup) -> None:
        self.parameters: Mapping[str, Tensor] = {}
        self.beside: Mapping[str, Tensor] = {}

    def loss(self, batch: Batch) -> Tensor:
        twins = [twin for _, twin in twins_of(batch)]
        if not twins:
            return batch.states.new_zeros((), dtype=torch.float32)
        return batch.network.loss(Packed.of(twins).to(batch.states.device))


def twins_of(batch: Batch) -> list[tuple[int, Example]]:
    """(number of the example, its twin) of those that have one."""
    found = ((number, labels(example).renamed) for number, example in enumerate(batch.examples))
    return [(number, Example(twin.ids, twin.start)) for number, twin in found if twin is not None]
