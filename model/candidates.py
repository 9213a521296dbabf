"""Other answers beside the first: every branch that ``alternatives`` names is decoded to its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Generic

from holefill.model.alternatives import Branch, Explorer, Step
from holefill.model.answer import Answer
from holefill.model.decoding import Decoder
from holefill.model.foresight import Foresight
from holefill.model.healing import Healer
from holefill.model.job import Job
from holefill.model.kv.prefix import PrefixCache, Running
from holefill.model.parts import C
from holefill.model.prefill import Prefill
from holefill.model.request import Candidate
from holefill.model.tokenizer import Tokenizer

TRIES = 2  # branches per alternative asked for: some lead back to an answer already known


class Candidates(Generic[C]):
    """The caller has the turn, and has left the rows of the first answer to others: all begin with them."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        healer: Healer,
        prefixes: PrefixCache[C],
        prefill: Prefill[C],
        decoder: Decoder[C],
        foresight: Foresight[C],
    ) -> None:
        self._tokenizer, self._healer, self._prefixes = tokenizer, healer, prefixes
        self._prefill, self._decoder, self._foresight = prefill, decoder, foresight

    def of(self, job: Job) -> tuple[Candidate, ...]:
        """``job.answer`` and answers that differ from it, the likeliest first; as many as there is time for."""
        first = job.answer.whole()
        explorer = Explorer(self._tokenizer.decode, self._tokenizer.stop_ids)
        explorer.add(_explored(job, first))
        others: dict[str, Candidate] = {}
        for _ in range(TRIES * job.request.alternatives):
            branch = explorer.next() if len(others) < job.request.alternatives else None
            if branch is None or job.interrupted() is not None:
                break
            other, steps = self._from_branch(job, branch)
            explorer.add(steps)
            if other is not None and other.text.strip() not in {"", first.text.strip(), *others}:
                others[other.text.strip()] = other
        found = first, *sorted(others.values(), key=lambda candidate: -candidate.mean_logprob)
        return self._foresight.judged(job, found) if job.request.foresight else found

    def _from_branch(self, job: Job, branch: Branch) -> tuple[Candidate | None, list[Step]]:
        """The answer that goes on from there, None when it was interrupted; and its steps, so far as it kept them."""
        other = self._at(job, branch)
        running = Running(self._prefixes)
        try:
            self._prefill.run(other, running)
            for _ in self._decoder.run(other, running):
                pass
        finally:
            running.stop()
        whole = other.answer.whole()
        return None if other.answer.finish is None else whole, _explored(other, whole) or list(branch.steps)

    def _at(self, job: Job, branch: Branch) -> Job:
        """A job whose answer has ``branch``'s tokens already."""
        request = replace(job.request, alternatives=0, foresight=False)
        answer = Answer(request, self._tokenizer)
        ids = [*request.prompt_ids, *(step.token for step in branch.steps)]
        other = Job(request, job.cancel, job.submitted, ids, answer, steps=list(branch.steps), interrupt=job.interrupt)
        other.healing = self._healer.begin(request.typed)
        for step in branch.steps:
            if other.healing is not None:
                other.healing.take(self._tokenizer.token_bytes(step.token))
            if answer.finish is None:
                answer.push(step.token, step.logprob)
        return other


def _explored(job: Job, answer: Candidate) -> list[Step]:
    """Its tokens' and the one that ended it: where the answer could have gone on it could have differed too. None where
    nothing was said: silence is shown as such, whatever else might have been said."""
    return (job.steps or [])[: len(answer.token_ids) + 1] if answer.token_ids else []
