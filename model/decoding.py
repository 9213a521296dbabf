"""Rounds of propose → forward → verify → commit, each of which commits one token or more.

Speculation plugs in as a ``Speculator``; plain decoding is the same loop with nothing drafted. While an answer repeats
what was typed at the cursor, a round drafts nothing either and its law is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic

import torch

from holefill.model.alternatives import steps_of
from holefill.model.cancel import Interrupted
from holefill.model.constrain.constraint import Constraint
from holefill.model.constrain.verification import Guide, guided_verify
from holefill.model.healing import Healing
from holefill.model.job import Job
from holefill.model.kv.prefix import Running
from holefill.model.parts import C, Speculator, Target
from holefill.model.prefill import Prefill
from holefill.model.request import Chunk
from holefill.model.spec.top import likeliest
from holefill.model.spec.tree import DraftTree, ancestor_mask
from holefill.model.spec.verify import Verdict, verify
from holefill.model.tokenizer import Tokenizer

Constrain = Callable[[Constraint], Guide | None]
"""A request's constraint → its guide, or None where it cannot be guided."""


class Decoder(Generic[C]):
    """The caller has the turn, and ``prefill`` has run."""

    def __init__(
        self,
        transformer: Target[C],
        tokenizer: Tokenizer,
        prefill: Prefill[C],
        speculator: Speculator | None,
        draft_budget: int,
        constrain: Constrain | None,
    ) -> None:
        self._transformer, self._tokenizer, self._prefill = transformer, tokenizer, prefill
        self._speculator, self._draft_budget, self._constrain = speculator, draft_budget, constrain

    def run(self, job: Job, running: Running[C]) -> Iterator[Chunk]:
        """``job.answer`` as far as it becomes certain; the last chunk says why it ended."""
        guide = self._guide(job)
        while (finish := job.answer.finish or job.interrupted()) is None:
            if self._prefill.give_way(job, running):
                self._prefill.run(job, running)
                continue
            try:
                if job.healing is not None and job.healing.left:
                    self._heal(job, running, job.healing, guide)
                else:
                    self._round(job, running, guide)
            except Interrupted:
                job.resume()
            if job.answer.finish is None and (chunk := job.answer.chunk()) is not None:
                yield chunk
        yield job.answer.last(finish, job.timing())

    def _round(self, job: Job, running: Running[C], guide: Guide | None) -> None:
        tree = self._propose(job, guide)
        logits = self._forward(job, running, tree)
        top = likeliest(logits)
        if guide is None:
            verdict = verify(tree, logits, job.request.sampling, position=job.written, top=top)
        else:
            verdict = guided_verify(guide, tree, logits, job.request.sampling, job.written, top)
        _commit(job, running, tree, verdict, logits)
        if self._speculator is not None:
            self._speculator.observe(tree, verdict, top)

    def _heal(self, job: Job, running: Running[C], healing: Healing, guide: Guide | None) -> None:
        """A round without drafts whose token repeats typed characters: one or two, and they are repeated."""
        tree = DraftTree.root(job.ids[-1])
        logits = healing.mask(self._forward(job, running, tree))
        if guide is None:
            verdict = verify(tree, logits, job.request.sampling, position=job.written)
        else:
            verdict = guided_verify(guide, tree, logits, job.request.sampling, job.written)
        _commit(job, running, tree, verdict, logits)
        healing.take(self._tokenizer.token_bytes(verdict.tokens[0]))

    def _guide(self, job: Job) -> Guide | None:
        """At the end of what the answer has already; None where that, or the word it must repeat, is not what a guide
        would allow. Guides read bytes, so a word that they allow in one spelling they allow in every other."""
        constraint = job.request.constraint
        guide = None if constraint is None or self._constrain is None else self._constrain(constraint)
        written = tuple(job.ids[len(job.request.prompt_ids) :])
        typed = tuple(self._tokenizer.encode(job.request.typed))
        if guide is None or guide.first_forbidden(written or typed) is not None:
            return None
        guide.commit(written)
        return guide

    def _propose(self, job: Job, guide: Guide | None) -> DraftTree:
        left = job.request.max_tokens - job.answer.tokens - 1
        budget = min(self._draft_budget, left)
        if self._speculator is None or budget <= 0:
            return DraftTree.root(job.ids[-1])
        forced = () if guide is None else guide.forced(budget)
        tree = self._speculator.propose(job.request, job.ids, budget, forced, job.interrupt)
        return tree if guide is None else guide.prune(tree)

    def _forward(self, job: Job, running: Running[C], tree: DraftTree) -> torch.Tensor:
        """Logits [len(tree), vocab]. Takes along the ids before the root that have no rows yet."""
        pending, start = running.pending(job.ids), running.cache.length
        before, n = len(pending), len(pending) + len(tree)
        positions = mask = None
        if len(tree) > 1:
            positions = torch.tensor([*range(start, start + before), *(start + before + d for d in tree.depth)])
            mask = torch.ones(n, n, dtype=torch.bool).tril()
            mask[before:, before:] = ancestor_mask(tree)
        return self._transformer.forward(
            torch.tensor([*pending, *tree.token]),
            running.cache,
            positions=positions,
            tree_mask=mask,
            logit_rows=torch.arange(before, n),
            interrupt=job.interrupt,
        )


def _commit(job: Job, running: Running[C], tree: DraftTree, verdict: Verdict, logits: torch.Tensor) -> None:
    """The accepted path becomes part of the answer; of the tree's rows only its are kept.

    ``logits`` [len(tree), vocab]: those that were judged.
    """
    start = running.cache.length - len(tree)
    if len(verdict.path) < len(tree):
        running.cache.keep([*range(start), *(start + node for node in verdict.path)])
    running.ids += [*running.pending(job.ids), *(tree.token[node] for node in verdict.path)]
    job.count_forward()
    job.ids += verdict.tokens
    if job.steps is not None:
        job.steps += steps_of(verdict.tokens, verdict.logprobs, logits[list(verdict.path)])
    for token_id, logprob in zip(verdict.tokens, verdict.logprobs, strict=True):
        if job.answer.finish is None:
            job.answer.push(token_id, logprob)
