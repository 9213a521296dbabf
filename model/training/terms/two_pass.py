"""PyCoder-Hard: the same weights also read and predict the sequence of types, a second pass over every example.

Weight 0.11 is the paper's 0.9 : 0.1. Unlike there, the types have rows of their own in front of a frozen embedding and
head, so that their distribution is over types alone; the loss looks at the middle, as ours does.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.model.training.labels import END_TYPE, NO_TYPE
from holefill.model.training.terms.term import Batch, Setup, labels
from holefill.model.training.terms.token_type import middle_types


class TwoPass:
    """Each type repeated for every token; control tokens stay themselves."""

    def __init__(self, setup: Setup) -> None:
        weights = setup.weights
        generator = torch.Generator().manual_seed(setup.seed)
        embed = weights["embed"]
        assert isinstance(embed, Tensor)
        common = embed[:: max(1, len(embed) // 1000)].float()
        spread = torch.randn(END_TYPE + 1, weights.config.hidden_size, generator=generator).to(common)
        rows = common.mean(dim=0) + spread * common.std(dim=0)
        head = torch.zeros(END_TYPE + 1, weights.config.hidden_size, device=rows.device)
        self.parameters: Mapping[str, Tensor] = {"embed": rows.requires_grad_(), "head": head.requires_grad_()}
        self.beside: Mapping[str, Tensor] = {}

    def loss(self, batch: Batch) -> Tensor:
        packed = batch.packed
        types = torch.tensor([type_ for example in batch.examples for type_ in labels(example).types])
        typed = (types != NO_TYPE).to(packed.ids.device)
        rows = F.embedding(types.clamp(min=0).to(packed.ids.device), self.parameters["embed"])
        words = batch.network.embedded(packed.ids)
        states = batch.network.states(packed, torch.where(typed[:, None], rows.to(words), words))
        predicted = F.linear(batch.network.normed(states[packed.rows]).float(), self.parameters["head"])
        return F.cross_entropy(predicted, middle_types(batch))
