"""MRR@10 of the next token, by class of token (CodeFill, PAPERS §2.21): where does the model rank the true one?

Teacher-forced: one forward over the prompt and the true answer, apart from the request, so it doubles the work of a
case. A model token belongs to the class of the code token that its first visible character is in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from holefill.evaluation.metrics.ranking import at_rank
from holefill.evaluation.metrics.token_classes import mean_by_class
from holefill.model.engine import Engine
from holefill.model.kv.cache import KVCache
from holefill.model.tokenizer import Tokenizer

TOP = 10
_ROWS = 128  # of one forward, as in the engine's prefill


class TokenRanks:
    """Of an engine in this process, while it answers nothing else."""

    def __init__(self, engine: Engine[KVCache]) -> None:
        self._transformer = engine.transformer
        self._tokenizer = engine.tokenizer

    def scores(self, prompt_ids: Sequence[int], target: str, language: str) -> dict[str, float]:
        """``mrr_at_10/class`` over the tokens of ``target`` (0–100)."""
        answer = self._tokenizer.encode(target)
        if not answer or not prompt_ids:
            return {}
        ranks = self._ranks(prompt_ids, answer)
        values = [
            (position, at_rank(rank, TOP))
            for position, rank in zip(first_characters(self._tokenizer, answer), ranks, strict=True)
        ]
        by_class: Mapping[str, float] = mean_by_class(values, target, language)
        return {f"mrr_at_{TOP}/{name}": value for name, value in by_class.items()}

    def _ranks(self, prompt_ids: Sequence[int], answer: Sequence[int]) -> list[int]:
        ids = [*prompt_ids, *answer[:-1]]
        cache = self._transformer.new_cache(len(ids))
        first = len(prompt_ids) - 1
        ranks: list[int] = []
        for start in range(0, len(ids), _ROWS):
            part = torch.tensor(ids[start : start + _ROWS])
            rows = torch.arange(min(max(0, first - start), len(part)), len(part))
            logits = self._transformer.forward(part, cache, logit_rows=rows)
            if len(rows):
                gold = answer[len(ranks) : len(ranks) + len(rows)]
                ranks += ranks_of(logits, torch.tensor(gold, device=logits.device))
        return ranks


def ranks_of(logits: torch.Tensor, gold: torch.Tensor) -> list[int]:
    """1 for the likeliest; equals are ranked by id. ``logits`` [n, vocab], ``gold`` [n]."""
    value = logits.gather(1, gold[:, None])
    before = torch.arange(logits.shape[1], device=logits.device)[None, :] < gold[:, None]
    ahead = (logits > value) | ((logits == value) & before)
    return [int(count) + 1 for count in ahead.sum(dim=1)]


def first_characters(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """Index in the text of each token's first visible character; of its first one where none is."""
    found: list[int] = []
    decoder = tokenizer.stream()
    start = 0
    for id_ in ids:
        text = decoder.push(id_)
        found.append(start + (len(text) - len(text.lstrip()) if text.strip() else 0))
        start += len(text)
    return found
