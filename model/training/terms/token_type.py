"""The type of the next token by one linear layer on the state that predicts the token (after PyCoder, Takerngsaksiri
et al. 2023; its own form is ``two_pass``)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.model.training.labels import END_TYPE
from holefill.model.training.terms.term import Batch, Setup, labels


class TokenType:
    """Over the rows of the middle, its end among the types. The layer starts at zero: no type is likelier."""

    def __init__(self, setup: Setup) -> None:
        norm = setup.weights.vector("norm")
        head = torch.zeros(END_TYPE + 1, setup.weights.config.hidden_size, device=norm.device)
        self.parameters: Mapping[str, Tensor] = {"head": head.requires_grad_()}
        self.beside: Mapping[str, Tensor] = {}

    def loss(self, batch: Batch) -> Tensor:
        states = batch.network.normed(batch.states[batch.packed.rows]).float()
        return F.cross_entropy(F.linear(states, self.parameters["head"]), middle_types(batch))


def middle_types(batch: Batch) -> Tensor:
    """Of the tokens that ``batch.packed.rows`` predict."""
    types = [type_ for example in batch.examples for type_ in labels(example).types[example.start :]]
    return torch.tensor(types, device=batch.states.device)
