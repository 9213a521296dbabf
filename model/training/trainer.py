"""The training loop: one run from a recipe, killed and resumed at will, ending in an adapter file and its figures."""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from holefill.model.adapter_file import stacked
from holefill.model.training.checkpoints import RunState, load_state, save_state
from holefill.model.training.examples import Example, TrainingError
from holefill.model.training.network import LoraShape, Packed, TrainableNetwork, new_factors
from holefill.model.training.schedule import Schedule, batch_at, weighted_draw
from holefill.model.training.terms.table import TERMS
from holefill.model.training.terms.term import Batch, Setup, Term
from holefill.model.weights import Weights

CLIP = 1.0
BETAS = (0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the result of a run, beside weights and data."""

    steps: int
    batch: int = 8
    peak: float = 2e-4
    warm_up: int = 10
    weight_decay: float = 0.0
    shape: LoraShape = field(default_factory=LoraShape)
    seed: int = 0
    terms: tuple[tuple[str, float], ...] = ()
    """Loss terms added to the middle's, with their weights."""
    candidates: int = 1
    """Examples looked at for each one learned from; those with a higher loss are drawn more often (§2.23)."""

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.steps, self.peak, self.warm_up)

    def text(self, examples: Sequence[Example], base: str) -> str:
        """Of this recipe on this data and these weights: two runs of one text are the same run."""
        digest = hashlib.sha256()
        for example in examples:
            digest.update(f"{example.start} {example.ids}\n".encode())
            if self.terms:
                digest.update(repr(example.labels).encode())
        fields = {**asdict(self), "examples": digest.hexdigest()[:16], "base": base}
        return json.dumps(fields, sort_keys=True)


@dataclass(frozen=True, slots=True)
class StepDone:
    """What a progress line shows."""

    step: int
    steps: int
    loss: float
    examples_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Saving:
    """Where and how often the state is written; no state without a path."""

    path: Path | None = None
    every: int = 20


@dataclass(frozen=True, slots=True)
class Trained:
    factors: Mapping[str, Tensor]
    losses: tuple[float, ...]
    seconds: float
    examples: int


def train(
    weights: Weights,
    examples: Sequence[Example],
    recipe: Recipe,
    *,
    base: str = "",
    beneath: Mapping[str, Tensor] = MappingProxyType({}),
    start: Mapping[str, Tensor] = MappingProxyType({}),
    saving: Saving | None = None,
    tell: Callable[[StepDone], None] = lambda done: None,
) -> Trained:
    """Runs ``recipe.steps`` steps, going on from the last saved state where there is one.

    ``beneath``: factors of the adapter on top of which this one learns. ``start``: those to go on from, instead of from
    nothing. The scale is already in ``b`` of both, and ``base`` names them too.
    The same recipe, data, weights and thread count give the same factors bit for bit on a CPU, killed or not.
    """
    if not examples:
        raise TrainingError("there is no example to train on: build more data, or raise the token limit")
    saving = saving or Saving()
    text = recipe.text(examples, base)
    device = weights.vector("norm").device
    factors = {
        name: factor.detach().to(device).requires_grad_(factor.requires_grad)
        for name, factor in _first(weights, recipe, start).items()
    }
    terms = _Terms(weights, recipe)
    groups = ([factor for factor in factors.values() if factor.requires_grad], list(terms.parameters.values()))
    optimizer = torch.optim.AdamW(
        [one for group in groups for one in group], lr=recipe.peak, betas=BETAS, weight_decay=recipe.weight_decay
    )
    state = load_state(saving.path, text) if saving.path is not None else None
    losses: list[float] = []
    begun, before = 0, 0.0
    if state is not None:
        _restore({**factors, **terms.parameters}, optimizer, state)
        begun, before, losses = state.step, state.seconds, list(state.losses)
    network = TrainableNetwork(weights, factors, recipe.shape.scale, beneath, terms.beside)
    began = time.monotonic()

    def save(step: int) -> None:
        if saving.path is not None:
            kept = {name: factor.detach() for name, factor in {**factors, **terms.parameters}.items()}
            seconds = before + time.monotonic() - began
            save_state(saving.path, RunState(step, text, kept, optimizer.state_dict(), losses, seconds))

    for step in range(begun, recipe.steps):
        losses.append(_step(network, optimizer, groups, terms, examples, recipe, step))
        pace = (time.monotonic() - began) / (step + 1 - begun)
        tell(StepDone(step + 1, recipe.steps, losses[-1], recipe.batch / pace, pace * (recipe.steps - step - 1)))
        if (step + 1) % saving.every == 0 or step + 1 == recipe.steps:
            save(step + 1)
    seconds = before + time.monotonic() - began
    scaled = {n: f.detach() * (recipe.shape.scale if n.endswith(".b") else 1.0) for n, f in factors.items()}
    return Trained(stacked(terms.beside, scaled), tuple(losses), seconds, recipe.steps * recipe.batch)


@torch.no_grad()
def held_out_loss(
    weights: Weights, factors: Mapping[str, Tensor], examples: Sequence[Example], batch: int = 8
) -> tuple[float, float]:
    """Mean loss of (hole tokens, end tokens). ``factors`` as in an adapter: the scale is already in ``b``."""
    network = TrainableNetwork(weights, factors, 1.0)
    sums, counts = [0.0, 0.0], [0, 0]
    for first in range(0, len(examples), batch):
        packed = Packed.of(examples[first : first + batch]).to(network.device)
        losses = torch.nn.functional.cross_entropy(network.logits(packed), packed.targets, reduction="none")
        ends = torch.zeros(len(losses), dtype=torch.bool)
        lengths = [len(example.ids) - example.start for example in examples[first : first + batch]]
        ends[torch.tensor(lengths).cumsum(0) - 1] = True
        for index, mask in enumerate((~ends, ends)):
            sums[index] += float(losses[mask].sum())
            counts[index] += int(mask.sum())
    return sums[0] / max(1, counts[0]), sums[1] / max(1, counts[1])


@dataclass(frozen=True, slots=True)
class Foretold:
    """One example under teacher forcing."""

    loss: float
    """Mean over the tokens of the middle."""
    right: float
    """Share of them that are the likeliest."""
    end: float
    """Loss of the end token."""
    exact: bool
    """Whether greedy decoding would write the middle and end there."""


@torch.no_grad()
def foretold(weights: Weights, factors: Mapping[str, Tensor], examples: Sequence[Example]) -> list[Foretold]:
    """``factors`` as in an adapter."""
    network = TrainableNetwork(weights, factors, 1.0)
    found: list[Foretold] = []
    for example in examples:
        packed = Packed.of([example]).to(network.device)
        logits = network.logits(packed)
        losses = torch.nn.functional.cross_entropy(logits, packed.targets, reduction="none")
        hits = logits.argmax(dim=-1) == packed.targets
        middle, last = slice(0, max(1, len(hits) - 1)), len(hits) - 1
        shares = float(losses[middle].mean()), float(hits[middle].float().mean())
        found.append(Foretold(*shares, float(losses[last]), bool(hits.all())))
    return found


@torch.no_grad()
def example_losses(weights: Weights, factors: Mapping[str, Tensor], examples: Sequence[Example]) -> list[float]:
    """Mean loss of each example's middle and end. ``factors`` as in an adapter."""
    return _each(TrainableNetwork(weights, factors, 1.0), examples)


def _each(network: TrainableNetwork, examples: Sequence[Example]) -> list[float]:
    return [float(network.loss(Packed.of([example]).to(network.device))) for example in examples]


def _first(weights: Weights, recipe: Recipe, start: Mapping[str, Tensor]) -> dict[str, Tensor]:
    fresh = new_factors(weights.config, recipe.shape, recipe.seed)
    if start and any(name not in start or start[name].shape != factor.shape for name, factor in fresh.items()):
        raise TrainingError(f"the adapter to start from has not rank {recipe.shape.rank}: give its --rank")
    scale = recipe.shape.scale
    going_on = {name: start[name].float() / (scale if name.endswith(".b") else 1.0) for name in start}
    return {name: factor.requires_grad_() for name, factor in going_on.items()} or fresh


class _Terms:
    """Those of a recipe, as one."""

    def __init__(self, weights: Weights, recipe: Recipe) -> None:
        made = [(name, TERMS[name](Setup(weights, recipe.seed)), weight) for name, weight in recipe.terms]
        self._terms: list[tuple[Term, float]] = [(term, weight) for _, term, weight in made]
        self.parameters = {f"{name}.{key}": one for name, term, _ in made for key, one in term.parameters.items()}
        self.beside: Mapping[str, Tensor] = {}
        for term, _ in self._terms:
            self.beside = {**self.beside, **term.beside}  # one term at most has any

    def added(self, middle: Tensor, batch: Batch) -> Tensor:
        for term, weight in self._terms:
            middle = middle + weight * term.loss(batch)
        return middle


def _restore(factors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, state: RunState) -> None:
    with torch.no_grad():
        for name, factor in factors.items():
            factor.copy_(state.factors[name])
    optimizer.load_state_dict(state.optimizer)


@torch.no_grad()
def drawn_examples(network: TrainableNetwork, examples: Sequence[Example], recipe: Recipe, step: int) -> list[Example]:
    """The step's examples: of its candidates each with a probability that grows with its loss as the model now is."""
    pool = [examples[n] for n in batch_at(step, len(examples), recipe.batch * recipe.candidates, recipe.seed)]
    if recipe.candidates == 1:
        return pool
    generator = random.Random(f"{recipe.seed}/{step}/drawn")
    return [pool[n] for n in weighted_draw(_each(network, pool), recipe.batch, generator)]


def _step(
    network: TrainableNetwork,
    optimizer: torch.optim.Optimizer,
    groups: Sequence[list[Tensor]],
    terms: _Terms,
    examples: Sequence[Example],
    recipe: Recipe,
    step: int,
) -> float:
    """The middle's loss alone: runs with and without terms can be compared by it."""
    chosen = drawn_examples(network, examples, recipe, step)
    for group in optimizer.param_groups:
        group["lr"] = recipe.schedule.rate(step)
    optimizer.zero_grad(set_to_none=True)
    packed = Packed.of(chosen).to(network.device)
    states = network.states(packed)
    middle = network.loss(packed, states)
    whole = terms.added(middle, Batch(network, chosen, packed, states))
    torch.autograd.backward(whole)
    for parameters in groups:  # apart: what a term trains must not make the adapter's step smaller
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
    value = float(middle.detach())
    if not math.isfinite(float(whole.detach())):
        raise TrainingError(f"the loss is {float(whole.detach())} at step {step + 1}: lower the learning rate")
    optimizer.step()
    return value
