"""CodeFill's statement completion: statements before the hole, each from a cardinal point to its end, left to right
(Izadi et al. 2022). They are rows of the same forward; only the head runs on more of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.model.training.terms.term import Batch, Setup, first_rows, labels


class Statement:
    def __init__(self, setup: Setup) -> None:
        self.parameters: Mapping[str, Tensor] = {}
        self.beside: Mapping[str, Tensor] = {}

    def loss(self, batch: Batch) -> Tensor:
        rows = [
            start + token - 1
            for start, example in zip(first_rows(batch.packed), batch.examples, strict=True)
            for first, end in labels(example).statements
            for token in range(first, end)
        ]
        if not rows:
            return batch.states.new_zeros((), dtype=torch.float32)
        index = torch.tensor(rows, device=batch.states.device)
        return F.cross_entropy(batch.network.head(batch.states[index]), batch.packed.ids[index + 1])
