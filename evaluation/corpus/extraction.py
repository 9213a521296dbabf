"""Soft-prompt extraction (Ethicist, Zhang et al. 2023): vectors in front of the prompt, learned on texts the attacker
knows to be in the training data, that make the frozen model say others it has seen.

Loss: cross-entropy + 0.7 × the mean of the five worst tokens. An answer counts when greedy decoding writes the whole
middle and ends there, which teacher forcing tells in one forward; the paper samples 100 answers and ranks them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.model.training.examples import Example, TrainingError
from holefill.model.training.network import Packed, TrainableNetwork
from holefill.model.weights import Weights

WORST = 5
WORST_WEIGHT = 0.7
MIN_LEARNED = 4
"""One is kept apart."""


@dataclass(frozen=True, slots=True)
class Attack:
    vectors: int = 10
    steps: int = 60
    batch: int = 8
    rate: float = 1e-3
    seed: int = 0
    every: int = 10
    """Steps between looks at the known texts kept apart; the best vectors seen are used."""


@dataclass(frozen=True, slots=True)
class Learned:
    vectors: Tensor
    """[vectors, hidden_size]."""
    losses: tuple[float, ...]
    """On the known texts kept apart, at the start and at every look."""
    step: int
    """At which they were best."""


class Extractor:
    """``factors`` as in an adapter: of the model under attack."""

    def __init__(self, weights: Weights, factors: Mapping[str, Tensor]) -> None:
        self._network = TrainableNetwork(weights, {}, 1.0, beneath=factors)

    def learn(self, known: Sequence[Example], start: Sequence[int], attack: Attack) -> Learned:
        """``start``: tokens of ordinary whole lines; the vectors start from the embeddings of the last. A quarter of
        ``known`` is kept apart. Raises TrainingError for fewer than ``MIN_LEARNED``."""
        if len(known) < MIN_LEARNED:
            raise TrainingError(f"an attack learns on known texts of the training data: give at least {MIN_LEARNED}")
        mixed = list(known)
        random.Random(f"{attack.seed}/known").shuffle(mixed)
        apart, learned = mixed[: len(mixed) // 4], mixed[len(mixed) // 4 :]
        line = [start[n % len(start)] for n in range(-attack.vectors, 0)]
        ids = torch.tensor(line, device=self._network.device)
        vectors = self._network.embedded(ids).float().clone().requires_grad_()
        optimizer = torch.optim.Adam([vectors], lr=attack.rate)
        best, losses = (0, vectors.detach().clone()), [self._mean(apart, vectors)]
        for step in range(1, attack.steps + 1):
            generator = random.Random(f"{attack.seed}/{step}")
            batch = generator.sample(learned, min(attack.batch, len(learned)))
            optimizer.zero_grad()
            torch.autograd.backward(self._loss(batch, vectors))
            optimizer.step()
            if step % attack.every == 0 or step == attack.steps:
                loss = self._mean(apart, vectors)
                if loss < min(losses):
                    best = (step, vectors.detach().clone())
                losses.append(loss)
        return Learned(best[1], tuple(losses), best[0])

    @torch.no_grad()
    def says(self, examples: Sequence[Example], vectors: Tensor | None = None) -> list[bool]:
        """Whether each whole middle is said; by plain prompting without ``vectors``."""
        said: list[bool] = []
        for example in examples:
            logits, targets = self._logits([example], vectors)
            said.append(bool((logits.argmax(dim=-1) == targets).all()))
        return said

    def likeliest(self, examples: Sequence[Example], count: int) -> list[Example]:
        """By plain prompting: what the model seems to know of what the attacker knows."""
        nothing = torch.empty(0, self._network.embedded(torch.tensor([0], device=self._network.device)).shape[1])
        losses = [(self._mean([example], nothing.to(self._network.device)), n) for n, example in enumerate(examples)]
        return [examples[n] for _, n in sorted(losses)[:count]]

    def _loss(self, examples: Sequence[Example], vectors: Tensor) -> Tensor:
        losses = F.cross_entropy(*self._logits(examples, vectors), reduction="none")
        worst = [part.topk(min(WORST, len(part))).values.mean() for part in _split(losses, _lengths(examples))]
        return losses.mean() + WORST_WEIGHT * torch.stack(worst).mean()

    @torch.no_grad()
    def _mean(self, examples: Sequence[Example], vectors: Tensor) -> float:
        return sum(float(self._loss([example], vectors)) for example in examples) / len(examples)

    def _logits(self, examples: Sequence[Example], vectors: Tensor | None) -> tuple[Tensor, Tensor]:
        count = 0 if vectors is None else len(vectors)
        longer = [Example((0,) * count + example.ids, count + example.start) for example in examples]
        packed = Packed.of(longer).to(self._network.device)
        words = self._network.embedded(packed.ids)
        if vectors is None:
            inputs = words
        else:
            parts = _split(words, packed.lengths)
            inputs = torch.cat([piece for part in parts for piece in (vectors.to(words), part[count:])])
        return self._network.head(self._network.states(packed, inputs)[packed.rows]), packed.targets


def _lengths(examples: Sequence[Example]) -> list[int]:
    return [len(example.ids) - example.start for example in examples]


def _split(rows: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    ends = list(accumulate(lengths))
    return [rows[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def by_copies(said: Sequence[bool], copies: Sequence[int]) -> dict[int, float]:
    """Copies → share of the texts with so many that were said."""
    groups: dict[int, list[bool]] = {}
    for hit, count in zip(said, copies, strict=True):
        groups.setdefault(count, []).append(hit)
    return {count: sum(hits) / len(hits) for count, hits in sorted(groups.items())}
