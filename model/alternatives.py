"""Other answers to one prompt: where the model hesitated most, take what it did not write (ICN, PAPERS.md 2.15).

Ranks 2 … k of the first token are often wrong neighbours of the first. So a branch is taken at the position of highest
entropy, the words already explored there are excluded, and the model goes on from the most likely other token.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch

from holefill.model.spec.top import top_k

WIDTH = 16
"""Tokens remembered per position."""
UNLIKELY = 0.02
"""A token below this probability is no alternative."""
LOOK_AHEAD = 8
"""Tokens read to see which word an explored answer wrote."""
_WORD = re.compile(r"\s*\w+")


@dataclass(frozen=True, slots=True)
class Step:
    """One committed token, and what else the model thought of there."""

    token: int
    logprob: float
    entropy: float
    """Of the model's whole distribution, in nats."""
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """log p of ``ids``, most likely first."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Go on from here: ``steps``, the last of which took another token than the answers explored so far."""

    steps: tuple[Step, ...]


class Explorer:
    """Remembers the answers explored and proposes the next place to differ."""

    def __init__(self, spell: Callable[[Sequence[int]], str], stop_ids: Collection[int]) -> None:
        self._spell = spell
        self._stop_ids = stop_ids
        self._explored: list[tuple[Step, ...]] = []
        self._tried: dict[tuple[int, ...], set[int]] = {}
        """Path of tokens → tokens already taken from there."""

    def add(self, steps: Sequence[Step]) -> None:
        self._explored.append(tuple(steps))

    def next(self) -> Branch | None:
        """The place where the most entropy is left, weighted with the probability not explored; None: nowhere."""
        best: tuple[float, tuple[Step, ...], int, int] | None = None
        seen: set[tuple[int, ...]] = set()
        for steps in self._explored:
            path: tuple[int, ...] = ()
            for index, step in enumerate(steps):
                if path not in seen:
                    seen.add(path)
                    open_, rank = self._open(path, step)
                    if rank is not None and (best is None or step.entropy * open_ > best[0]):
                        best = (step.entropy * open_, steps, index, rank)
                path = (*path, step.token)
        if best is None:
            return None
        _, steps, index, rank = best
        there = steps[index]
        self._tried.setdefault(tuple(step.token for step in steps[:index]), set()).add(there.ids[rank])
        taken = Step(there.ids[rank], there.logprobs[rank], there.entropy, there.ids, there.logprobs)
        return Branch((*steps[:index], taken))

    def _open(self, path: tuple[int, ...], step: Step) -> tuple[float, int | None]:
        """Probability that is not explored after ``path``, and the rank of the likeliest token of it."""
        written = [steps[len(path) :] for steps in self._explored if _follows(steps, path)]
        closed = self._tried.get(path, set()) | {steps[0].token for steps in written}
        words = {self._word([step.token for step in steps[:LOOK_AHEAD]]) for steps in written} - {""}
        left, rank = 1.0, None
        for at, (token, logprob) in enumerate(zip(step.ids, step.logprobs, strict=True)):
            p = math.exp(logprob)
            if token in closed or token in self._stop_ids or self._begins(token, words):
                left -= p
            elif rank is None and p >= UNLIKELY:
                rank = at
        return max(left, 0.0), rank

    def _word(self, tokens: Sequence[int]) -> str:
        """The word at the start of a text, with the space before it; '' where something else is."""
        word = _WORD.match(self._spell(tokens))
        return "" if word is None else word.group()

    def _begins(self, token: int, words: Collection[str]) -> bool:
        """Whether the token writes one of ``words`` or a part of it: another tokenisation is no other answer."""
        spelled = self._spell((token,))
        return any(word.startswith(spelled) for word in words) or self._word((token,)) in words


def _follows(steps: Sequence[Step], path: Sequence[int]) -> bool:
    return len(steps) > len(path) and all(step.token == token for step, token in zip(steps, path, strict=False))


def steps_of(tokens: Sequence[int], logprobs: Sequence[float], logits: torch.Tensor) -> list[Step]:
    """``logits`` [len(tokens), vocab]: row i is what the model expected where it wrote ``tokens[i]``."""
    log_p = logits.float().log_softmax(-1)
    entropy = torch.special.entr(log_p.exp()).sum(-1)
    values, ids = top_k(log_p, min(WIDTH, log_p.shape[-1]))
    rows = zip(tokens, logprobs, entropy.tolist(), ids.tolist(), values.tolist(), strict=True)
    return [Step(token, logprob, spread, tuple(i), tuple(v)) for token, logprob, spread, i, v in rows]
