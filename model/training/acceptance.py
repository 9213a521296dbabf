"""Guesses of a draft model and what became of them, recorded; and the acceptance head that learns to foretell it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from holefill.model.cancel import CancelToken
from holefill.model.request import Backend, GenerateRequest
from holefill.model.spec.acceptance import (
    BLOCKS,
    REJECTION_WEIGHT,
    AcceptanceHead,
    Floats,
    HeadCard,
    features,
    shapes,
)
from holefill.model.spec.calibration import Reliability
from holefill.model.spec.drafters.draft_model import CHUNK, DraftForward
from holefill.model.spec.speculator import MAX_DEPTH
from holefill.model.spec.top import Likeliest, likeliest

PART = 20
"""Prompts whose pairs are saved together."""
HIDDEN = 32


@dataclass(frozen=True, slots=True)
class Pairs:
    """n guesses; the arguments of ``acceptance.features`` and what the target said."""

    log_probs: Floats
    depth: npt.NDArray[np.int32]
    previous: Floats
    path: Floats
    accepted: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.accepted)

    def features(self) -> Floats:
        return features(self.log_probs, self.depth, self.previous, self.path)

    @classmethod
    def joined(cls, parts: Sequence[Pairs]) -> Pairs:
        return cls(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)))

    def save(self, path: Path) -> None:
        np.savez_compressed(path, **{one.name: getattr(self, one.name) for one in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Pairs:
        with np.load(path) as held:
            return cls(*(held[one.name] for one in fields(cls)))


def judged(top: Likeliest, said: Sequence[int]) -> Pairs:
    """``top``: what the draft model expects at every place; ``said``: what the target said there.

    Greedy drafting looks at a guess only if all guesses before it in the round were right, and then the draft model has
    read the target's own words. So one pass over those words gives every guess it would have made, and the rounds only
    say how deep each one stood: no mixing of the two models' words as in the paper is needed.
    """
    right = top.ids[:, 0] == np.asarray(said)
    kept, depths, befores, paths = [], [], [], []
    depth, before, path = 1, 0.0, 0.0
    for place, hit in enumerate(right):
        if depth > MAX_DEPTH:  # the target's own word ends the round
            depth, before, path = 1, 0.0, 0.0
            continue
        kept.append(place)
        depths.append(depth)
        befores.append(before)
        paths.append(path)
        before = float(top.log_probs[place, 0])
        depth, before, path = (depth + 1, before, path + before) if hit else (1, 0.0, 0.0)
    return Pairs(
        top.log_probs[kept].astype(np.float32),
        np.array(depths, np.int32),
        np.array(befores, np.float32),
        np.array(paths, np.float32),
        right[kept],
    )


def record(target: Backend, draft: DraftForward, prompts: Iterable[Sequence[int]], tokens: int) -> Iterator[Pairs]:
    """For every prompt: ``tokens`` of the target's greedy answer, and the draft model's guesses along it."""
    for prompt in prompts:
        request = GenerateRequest(tuple(prompt), max_tokens=tokens)
        said = [id_ for chunk in target.generate(request, CancelToken()) for id_ in chunk.token_ids]
        if said:
            yield judged(_guesses(draft, [*prompt, *said[:-1]], len(said)), said)


def _guesses(draft: DraftForward, ids: Sequence[int], last: int) -> Likeliest:
    """What the draft model expects after each of the ``last`` last ids."""
    cache = draft.new_cache(len(ids))
    read = len(ids) - last
    found: list[Likeliest] = []
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        wanted = torch.arange(min(max(0, read - start), len(chunk)), len(chunk))
        logits = draft.forward(torch.tensor(chunk), cache, logit_rows=wanted)
        if len(wanted):
            found.append(likeliest(logits))
    return Likeliest(np.concatenate([top.ids for top in found]), np.concatenate([top.log_probs for top in found]))


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    """Cosine with warm-up, as in the paper; ten times its epochs give the same held-out scores."""

    epochs: int = 3
    batch: int = 64
    rate: float = 3e-3
    warm_up: float = 0.03
    seed: int = 0


def train_head(pairs: Pairs, held_out: Pairs, card: HeadCard, recipe: HeadRecipe | None = None) -> AcceptanceHead:
    """Weighted cross-entropy; the held-out scores are in the card."""
    recipe = recipe or HeadRecipe()
    generator = torch.Generator().manual_seed(recipe.seed)
    data, target = torch.from_numpy(pairs.features()), torch.from_numpy(pairs.accepted).float()
    tensors = _start(data, generator)
    weight = torch.where(target > 0, 1.0, REJECTION_WEIGHT)
    optimizer = torch.optim.AdamW([t for t in tensors.values() if t.requires_grad], lr=recipe.rate, weight_decay=0.01)
    batches = -(-len(pairs) // recipe.batch)
    steps = recipe.epochs * batches
    for step in range(steps):
        if step % batches == 0:
            shuffled = torch.randperm(len(pairs), generator=generator)
        picked = shuffled[step % batches * recipe.batch :][: recipe.batch]
        warm = min(1.0, (step + 1) / (steps * recipe.warm_up))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        odds = _log_odds(tensors, data[picked])
        loss = F.binary_cross_entropy_with_logits(odds, target[picked], weight[picked], reduction="sum")
        optimizer.zero_grad()
        torch.autograd.backward(loss / weight[picked].sum())
        optimizer.step()
    learned = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    found = scores(AcceptanceHead(card, learned).probability(held_out.features()), held_out.accepted)
    return AcceptanceHead(replace(card, pairs=len(pairs), scores=found), learned)


def _start(rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
    tensors = {"mean": rows.mean(0), "scale": rows.std(0).clamp(min=1e-3)}
    for name, shape in shapes(HIDDEN).items():
        if name not in tensors:
            weights = torch.randn(shape, generator=generator) * shape[-1] ** -0.5
            tensors[name] = (weights if name.endswith("weight") else torch.zeros(shape)).requires_grad_()
    return tensors


def _log_odds(t: Mapping[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    """As ``AcceptanceHead.probability``, before the weight is taken back."""
    x = F.linear((rows - t["mean"]) / t["scale"], t["in.weight"], t["in.bias"])
    for block in range(BLOCKS):
        x = x + F.silu(F.linear(x, t[f"block{block}.weight"], t[f"block{block}.bias"]))
    return F.linear(x, t["out.weight"], t["out.bias"])[:, 0]


def scores(p: Floats, accepted: npt.NDArray[np.bool_]) -> dict[str, float]:
    """AUC, expected calibration error, share accepted and their number."""
    cells = Reliability()
    for one, hit in zip(p.tolist(), accepted.tolist(), strict=True):
        cells.add(one, hit)
    share = float(accepted.mean()) if len(accepted) else 0.0
    found = {"auc": area(p, accepted), "ece": cells.error(), "accepted": share}
    return {name: round(value, 4) for name, value in found.items()} | {"guesses": float(len(accepted))}


def area(p: Floats, accepted: npt.NDArray[np.bool_]) -> float:
    """P(an accepted guess gets more than a rejected one), ties by half; 0.5 where one kind is missing."""
    hits = int(accepted.sum())
    misses = len(accepted) - hits
    if hits == 0 or misses == 0:
        return 0.5
    _, at, counts = np.unique(p, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[at][accepted].sum() - hits * (hits + 1) / 2) / (hits * misses))
