"""How likely the text behind the hole is once an answer stands before it: a second opinion on answers.

Fill-in-the-middle shows a model the suffix before the answer: log p(answer | prompt) is one estimate of how likely the
answer is in its place. Read as plain text, from left to right, log p(answer | prefix) + log p(suffix | prefix, answer)
is another, up to a constant. Both together put the true answer of a cross-file hole first more often than the prompt
alone does (LOG.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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


class Foresight(Generic[C]):
    """The caller has the turn."""

    def __init__(
        self, transformer: Target[C], tokenizer: Tokenizer, prefixes: PrefixCache[C], prefill: Prefill[C]
    ) -> None:
        self._transformer, self._tokenizer = transformer, tokenizer
        self._prefixes, self._prefill = prefixes, prefill

    def judged(self, job: Job, answers: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """The answers with their log-probability in the plain text; without, where the prompt has no suffix behind its
        prefix, or there is no time for all of them: half of them cannot be compared with the rest."""
        parts = self._parts(job.request.prompt_ids)
        if parts is None:
            return tuple(answers)
        before, suffix = parts
        request = replace(job.request, prompt_ids=before, max_tokens=0, alternatives=0)
        answer = Answer(request, self._tokenizer)
        reading = Job(request, job.cancel, job.submitted, list(before), answer, interrupt=job.interrupt)
        running = Running(self._prefixes)
        try:
            self._prefill.run(reading, running)
            scores = []
            for one in answers:
                if job.interrupted() is not None or running.cache.length < len(before) - 1:
                    return tuple(answers)
                scores.append(self._score(reading, running, job.request.typed + one.text + suffix))
        except Interrupted:
            job.resume()
            return tuple(answers)
        finally:
            running.stop()
        return tuple(replace(one, plain_logprob=score) for one, score in zip(answers, scores, strict=True))

    def _parts(self, prompt: tuple[int, ...]) -> tuple[tuple[int, ...], str] | None:
        """Ids up to the prefix's end, which stand in the prompt's own rows, and the beginning of the suffix."""
        fim = self._tokenizer.fim_ids()
        if fim is None or fim[1] not in prompt or prompt[-1] != fim[2]:
            return None
        end = len(prompt) - 1 - prompt[::-1].index(fim[1])
        suffix = prompt[end + 1 : -1][:SUFFIX_TOKENS]
        return (prompt[:end], self._tokenizer.decode(suffix)) if end > 0 and suffix else None

    def _score(self, job: Job, running: Running[C], text: str) -> float:
        """log p of ``text`` behind the prefix."""
        ids = self._tokenizer.encode(text)
        start = running.cache.length
        logits = self._transformer.forward(
            torch.tensor([job.ids[-1], *ids[:-1]]),
            running.cache,
            logit_rows=torch.arange(len(ids)),
            interrupt=job.interrupt,
        ).float()
        running.cache.keep(range(start))
        said = torch.tensor(ids, device=logits.device)
        return float((logits.gather(1, said[:, None])[:, 0] - logits.logsumexp(-1)).sum())
