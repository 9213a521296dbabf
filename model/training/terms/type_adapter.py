"""A second adapter that learns to tell the tokens' types and nothing else, added beneath the one that fills holes
(after NER adapters, Saberi and Fard 2023). What the middle's loss teaches never reaches it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.model.training.labels import END_TYPE, NO_TYPE
from holefill.model.training.network import LoraShape, TrainableNetwork, new_factors
from holefill.model.training.terms.term import Batch, Setup, labels

RANK = 4
_HEAD = "head"


class TypeAdapter:
    """Types of the tokens read, over all rows, by a forward with this adapter alone."""

    def __init__(self, setup: Setup) -> None:
        config, device = setup.weights.config, setup.weights.vector("norm").device
        fresh = new_factors(config, LoraShape(RANK, float(RANK)), setup.seed + 1)
        factors = {name: factor.detach().to(device).requires_grad_() for name, factor in fresh.items()}
        head = torch.zeros(END_TYPE + 1, config.hidden_size, device=device).requires_grad_()
        self._own = TrainableNetwork(setup.weights, factors, 1.0)
        self.parameters: Mapping[str, Tensor] = {**factors, _HEAD: head}
        self.beside: Mapping[str, Tensor] = {name: factor.detach() for name, factor in factors.items()}

    def loss(self, batch: Batch) -> Tensor:
        types = [type_ for example in batch.examples for type_ in labels(example).types]
        states = self._own.normed(self._own.states(batch.packed)).float()
        wanted = torch.tensor(types, device=states.device)
        return F.cross_entropy(F.linear(states, self.parameters[_HEAD]), wanted, ignore_index=NO_TYPE)
