"""One forward's logits → the accepted path of the tree and the token after it. Lossless for any tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from holefill.model.request import Sampling
from holefill.model.spec import on_gpu
from holefill.model.spec.top import Likeliest, likeliest
from holefill.model.spec.tree import DraftTree

MASK64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one verification commits."""

    path: tuple[int, ...]
    """Accepted nodes from the root (included) down: the rows whose KV stays."""
    tokens: tuple[int, ...]
    """Tokens committed by this step: the accepted nodes' below the root, then the bonus token."""
    logprobs: tuple[float, ...]
    """log p of each of ``tokens`` under the target at temperature 1, unmasked."""


def verify(
    tree: DraftTree,
    logits: torch.Tensor,
    sampling: Sampling,
    *,
    position: int = 0,
    mask: torch.Tensor | None = None,
    draft: torch.Tensor | None = None,
    top: Likeliest | None = None,
) -> Verdict:
    """Walks down from the root as far as the target agrees.

    ``logits`` is [n, V], row i given the path to node i; ``top``, their likeliest, where the caller has them. ``mask``
    (bool [n, V], True = allowed) is the only thing that may change the target. ``position`` is the index in the text of
    the token after the root: with the seed it fixes the sampler's noise, so the same seed gives the same text with and
    without drafts.

    Sampling: siblings *chosen* by a drafter (all training-free ones) are point proposals. Rejection without
    replacement accepts sibling y with the target's mass of y given that earlier siblings are not it, and its residual
    is the target without the siblings: the same law as drawing x from the target and descending if x is a sibling,
    which is what is done. Siblings *sampled* without replacement from ``draft`` [n, V] go through
    ``reject_siblings`` (DySpec, SpecInfer).
    """
    gpu = on_gpu.serves(logits)
    top = top or likeliest(logits)
    if mask is None:
        target = logits
    else:
        target = on_gpu.masked(logits, mask) if gpu else logits.masked_fill(~mask, float("-inf"))
    children = tree.children()
    if sampling.temperature <= 0:
        allowed = top if mask is None else likeliest(target)
        path, bonus = _walk_greedy(tree, children, allowed.ids[:, 0].tolist())
    elif gpu and draft is None:
        noise = [uniform(sampling.seed, position + depth) for depth in tree.depth]
        path, bonus = _walk_greedy(tree, children, on_gpu.draw(target, sampling, noise).tolist())
    else:
        path, bonus = _walk_sampled(tree, children, distribution(target, sampling), sampling.seed, position, draft)
    tokens = (*(tree.token[node] for node in path[1:]), bonus)
    logprobs = tuple(_logprob(logits, top, node, token) for node, token in zip(path, tokens, strict=True))
    return Verdict(tuple(path), tokens, logprobs)


def distribution(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Probabilities [n, V] under temperature, then top-k, then top-p (the smallest set that reaches it)."""
    scaled = logits.double() / sampling.temperature
    if sampling.top_k > 0:
        smallest = scaled.topk(min(sampling.top_k, scaled.shape[-1])).values[:, -1:]
        scaled = scaled.masked_fill(scaled < smallest, float("-inf"))
    p = scaled.softmax(-1)
    if sampling.top_p < 1.0:
        ordered, index = p.sort(stable=True, dim=-1, descending=True)
        ordered[ordered.cumsum(-1) - ordered >= sampling.top_p] = 0.0
        p = torch.zeros_like(p).scatter(-1, index, ordered)
        p /= p.sum(-1, keepdim=True)
    return p


def reject_siblings(
    target: torch.Tensor, draft: torch.Tensor, siblings: torch.Tensor, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rejection of siblings sampled without replacement, for a batch of nodes.

    target, draft [B, V] probabilities; siblings int64 [B, k] in the order they were drawn; noise [B, k] uniform.
    Returns the accepted sibling's index [B] (−1: none) and the residual target [B, V] to draw from when none is.
    Sibling y passes with min(1, p(y)/q(y)); else p ← norm([p − q]₊) and q ← q without y.
    """
    p, q = target, draft
    accepted = torch.full((len(target),), -1, dtype=torch.long, device=target.device)
    for index in range(siblings.shape[1]):
        y = siblings[:, index : index + 1]
        passes = noise[:, index] * q.gather(1, y)[:, 0] < p.gather(1, y)[:, 0]
        accepted[(accepted < 0) & passes] = index
        rest = (p - q).clamp(min=0)
        mass = rest.sum(-1, keepdim=True)
        p = torch.where((accepted[:, None] < 0) & (mass > 0), rest / mass, p)
        q = q.scatter(1, y, 0.0)
        q = q / q.sum(-1, keepdim=True).clamp(min=1e-300)
    return accepted, p


def _walk_greedy(tree: DraftTree, children: list[list[int]], best: list[int]) -> tuple[list[int], int]:
    path = [0]
    while True:
        wanted = best[path[-1]]
        following = _child(tree, children[path[-1]], wanted)
        if following is None:
            return path, wanted
        path.append(following)


def _walk_sampled(
    tree: DraftTree,
    children: list[list[int]],
    target: torch.Tensor,
    seed: int,
    position: int,
    draft: torch.Tensor | None,
) -> tuple[list[int], int]:
    path = [0]
    while True:
        node, at = path[-1], position + len(path) - 1
        siblings = children[node]
        law = target[node]
        if draft is not None and siblings:
            tokens = torch.tensor([[tree.token[child] for child in siblings]], device=target.device)
            noise = torch.tensor([[uniform(seed, at, 1 + i) for i in range(len(siblings))]], device=target.device)
            accepted, residual = reject_siblings(law[None], draft[node : node + 1].to(law), tokens, noise)
            if accepted[0] >= 0:
                path.append(siblings[int(accepted[0])])
                continue
            return path, draw(residual[0], uniform(seed, at))
        wanted = draw(law, uniform(seed, at))
        following = _child(tree, siblings, wanted)
        if following is None:
            return path, wanted
        path.append(following)


def _logprob(logits: torch.Tensor, top: Likeliest, node: int, token: int) -> float:
    ranks = np.flatnonzero(top.ids[node] == token)
    if len(ranks):
        return float(top.log_probs[node, ranks[0]])
    return float(logits[node].float().log_softmax(-1)[token])


def _child(tree: DraftTree, siblings: list[int], token: int) -> int | None:
    return next((child for child in siblings if tree.token[child] == token), None)


def draw(p: torch.Tensor, u: float) -> int:
    """The token at quantile ``u`` of p [V], which need not be normalised."""
    total = p.cumsum(-1)
    index = int(torch.searchsorted(total, u * total[-1], right=True))
    return min(index, len(p) - 1)


def uniform(seed: int, position: int, stream: int = 0) -> float:
    """Noise in [0, 1) that depends on nothing but its arguments (splitmix64): no generator state to keep or rewind."""
    x = 0
    for part in (seed, position, stream):
        x = (x + part + 0x9E3779B97F4A7C15) & MASK64
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK64
        x ^= x >> 31
    return (x >> 11) / (1 << 53)
