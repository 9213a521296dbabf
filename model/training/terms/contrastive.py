"""A hole and its twin under other names shall look alike to the model, different holes different (PAPERS §2.24).

NT-Xent (Chen et al. 2020) over a batch's holes and twins: the state that predicts the first token of the middle,
as a unit vector.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.model.training.network import Packed
from holefill.model.training.terms.renaming import twins_of
from holefill.model.training.terms.term import Batch, Setup, first_rows

TEMPERATURE = 0.1


class Contrastive:
    """A second forward, of the twins; the head does not run on it."""

    def __init__(self, setup: Setup) -> None:
        self.parameters: Mapping[str, Tensor] = {}
        self.beside: Mapping[str, Tensor] = {}

    def loss(self, batch: Batch) -> Tensor:
        twins = twins_of(batch)
        if len(twins) < 2:  # nothing to tell it from
            return batch.states.new_zeros((), dtype=torch.float32)
        packed = Packed.of([twin for _, twin in twins]).to(batch.states.device)
        starts = first_rows(batch.packed)
        holes = [starts[number] + batch.examples[number].start - 1 for number, _ in twins]
        others = [start + twin.start - 1 for start, (_, twin) in zip(first_rows(packed), twins, strict=True)]
        states = torch.cat((batch.states[holes], batch.network.states(packed)[others]))
        return nt_xent(batch.network.normed(states).float(), TEMPERATURE)


def nt_xent(views: Tensor, temperature: float) -> Tensor:
    """views [2n, d]: row i and row n + i are one thing seen twice."""
    unit = F.normalize(views, dim=-1)
    likeness = (unit @ unit.T / temperature).fill_diagonal_(float("-inf"))
    partner = torch.arange(len(views), device=views.device).roll(len(views) // 2)
    return F.cross_entropy(likeness, partner)
