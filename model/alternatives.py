"""Other answers to one prompt: what the model did not write, where it came nearest to it (ICN, PAPERS.md 2.15).

Ranks 2 … k of the first token are often wrong neighbours of the first. So of all places in the answers explored so far,
their ends included, a branch is taken at the one whose other token makes the likeliest beginning of an answer; words
already explored there are excluded, and the model goes on from that token. ICN takes the place of highest entropy; the
true answer is then less often among five (LOG.md).
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
UNLIKELY = math.log(0.02)
"""A token whose log-probability is below this is no alternative."""
LOOK_AHEAD = 8
"""Tokens read to see which word an explored answer wrote."""
_WORD = re.compile(r"\s*\w+")


@dataclass(frozen=True, slots=True)
class Step:
    """One committed token, and what else the model thought of there."""

    token: int
    logprob: float
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
        """The likeliest beginning that no answer explored has; None: there is none."""
        best: tuple[float, tuple[Step, ...], int, int] | None = None
        seen: set[tuple[int, ...]] = set()
        for steps in self._explored:
            path: tuple[int, ...] = ()
            before = 0.0
            for index, step in enumerate(steps):
                if path not in seen:
                    seen.add(path)
                    rank = self._other(path, step)
                    if rank is not None and (best is None or before + step.logprobs[rank] > best[0]):
                        best = (before + step.logprobs[rank], steps, index, rank)
                path = (*path, step.token)
                before += step.logprob
        if best is None:
            return None
        _, steps, index, rank = best
        there = steps[index]
        self._tried.setdefault(tuple(step.token for step in steps[:index]), set()).add(there.ids[rank])
        taken = Step(there.ids[rank], there.logprobs[rank], there.ids, there.logprobs)
        return Branch((*steps[:index], taken))

    def _other(self, path: tuple[int, ...], step: Step) -> int | None:
        """The rank of the likeliest token after ``path`` that is not explored; None where none is likely enough."""
        written = [steps[len(path) :] for steps in self._explored if _follows(steps, path)]
        closed = self._tried.get(path, set()) | {steps[0].token for steps in written}
        words = {self._word([step.token for step in steps[:LOOK_AHEAD]]) for steps in written} - {""}
        for rank, (token, logprob) in enumerate(zip(step.ids, step.logprobs, strict=True)):
            if logprob < UNLIKELY:
                break
            if token not in closed and token not in self._stop_ids and not self._begins(token, words):
                return rank
        return None

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
    values, ids = top_k(log_p, min(WIDTH, log_p.shape[-1]))
    rows = zip(tokens, logprobs, ids.tolist(), values.tolist(), strict=True)
    return [Step(token, logprob, tuple(i), tuple(v)) for token, logprob, i, v in rows]
