"""How likely answers are in more of their file, and the text behind the hole after them: a second opinion.

Fill-in-the-middle shows a model the suffix before the answer. Read on as plain text, from left to right, prefix and
answer should lead to the suffix: log p(answer | prompt) + log p(suffix | prefix, answer) puts the true answer of a
cross-file hole first more often than the prompt alone does, and under a longer prompt than the answer was written from
more often still (LOG.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic

import torch

from holefill.model.answer import Answer
from holefill.model.cancel import Interrupted
from holefill.model.job import Job
from holefill.model.kv.prefix import PrefixCache, Running
from holefill.model.parts import C, Target
from holefill.model.prefill import Prefill
from holefill.model.request import Candidate
from holefill.model.tokenizer import Tokenizer

SUFFIX_TOKENS = 64


@dataclass(frozen=True, slots=True)
class _Reading:
    """``ids`` behind a prompt, of which those from ``first`` count; ``ends``: that the answer ends there, too."""

    ids: Sequence[int]
    first: int = 0
    ends: bool = False


class Foresight(Generic[C]):
    """The caller has the turn."""

    def __init__(
        self, transformer: Target[C], tokenizer: Tokenizer, prefixes: PrefixCache[C], prefill: Prefill[C], longest: int
    ) -> None:
        """``longest``: most tokens of a prompt and what is read behind it."""
        self._transformer, self._tokenizer = transformer, tokenizer
        self._prefixes, self._prefill, self._longest = prefixes, prefill, longest

    def judged(self, job: Job, answers: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """The answers with their ``judged_logprob``; without, where the prompt has no suffix behind its prefix or
        leaves no room, or there is no time for all of them: half of them cannot be compared with the rest."""
        prompt = job.request.judging_ids
        parts = self._parts(prompt)
        if parts is None:
            return tuple(answers)
        before, suffix = parts
        texts = [job.request.typed + one.text for one in answers]
        fills = self._read(job, prompt, [_Reading(self._tokenizer.encode(text), ends=True) for text in texts])
        reads = None if fills is None else self._read(job, before, [self._before(text, suffix) for text in texts])
        if fills is None or reads is None:
            return tuple(answers)
        scores = zip(answers, fills, reads, strict=True)
        return tuple(replace(one, judged_logprob=fill + read) for one, fill, read in scores)

    def _parts(self, prompt: tuple[int, ...]) -> tuple[tuple[int, ...], str] | None:
        """Ids up to the prefix's end, whose rows are the prompt's own, and the beginning of the suffix."""
        fim = self._tokenizer.fim_ids()
        if fim is None or fim[1] not in prompt or prompt[-1] != fim[2]:
            return None
        end = len(prompt) - 1 - prompt[::-1].index(fim[1])
        suffix = prompt[end + 1 : -1][:SUFFIX_TOKENS]
        return (prompt[:end], self._tokenizer.decode(suffix)) if end > 0 and suffix else None

    def _before(self, answer: str, suffix: str) -> _Reading:
        """The suffix's tokens, as they are spelled behind the answer."""
        ids, alone = self._tokenizer.encode(answer + suffix), self._tokenizer.encode(answer)
        first = next((i for i, (a, b) in enumerate(zip(ids, alone, strict=False)) if a != b), min(len(ids), len(alone)))
        return _Reading(ids, first)

    def _read(self, job: Job, prompt: tuple[int, ...], readings: Sequence[_Reading]) -> list[float] | None:
        """log p of each behind ``prompt``; None where there is no room or no time."""
        if len(prompt) + max(len(reading.ids) for reading in readings) > self._longest:
            return None
        request = replace(job.request, prompt_ids=prompt, max_tokens=0, alternatives=0, judging_ids=())
        answer = Answer(request, self._tokenizer)
        reader = Job(request, job.cancel, job.submitted, list(prompt), answer, interrupt=job.interrupt)
        running = Running(self._prefixes)
        scores = []
        try:
            self._prefill.run(reader, running)
            for reading in readings:
                if job.interrupted() is not None or running.cache.length < len(prompt) - 1:
                    return None
                scores.append(self._score(reader, running, reading))
        except Interrupted:
            job.resume()
            return None
        finally:
            running.stop()
        return scores

    def _score(self, reader: Job, running: Running[C], reading: _Reading) -> float:
        start, ids = running.cache.length, reading.ids
        read = [reader.ids[-1], *ids][: len(ids) + reading.ends]
        logits = self._transformer.forward(
            torch.tensor(read),
            running.cache,
            logit_rows=torch.arange(reading.first, len(read)),
            interrupt=reader.interrupt,
        )
        running.cache.keep(range(start))
        law = logits.float().log_softmax(-1)
        gold = torch.tensor(ids[reading.first :], device=law.device)
        score = law[: len(gold)].gather(1, gold[:, None]).sum()
        if reading.ends and (stops := sorted(self._tokenizer.stop_ids)):
            score = score + law[-1, stops].logsumexp(-1)
        return float(score)
