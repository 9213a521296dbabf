"""The rows of a prompt, computed in forwards that can be ended and between which background work gives way."""

from __future__ import annotations

from typing import Generic

import torch

from holefill.model.cancel import Interrupt, Interrupted
from holefill.model.job import Job
from holefill.model.kv.prefix import Running
from holefill.model.options import EngineOptions
from holefill.model.parts import C, Speculator, Target
from holefill.model.spec.top import likeliest
from holefill.model.turns import Turns


class Prefill(Generic[C]):
    """The caller has the turn."""

    def __init__(
        self, transformer: Target[C], turns: Turns, options: EngineOptions, speculator: Speculator | None
    ) -> None:
        self._transformer, self._turns, self._options, self._speculator = transformer, turns, options, speculator

    def run(self, job: Job, running: Running[C]) -> None:
        """All but the last chunk of ``job.ids``, which the first decode round takes along with its drafts.

        Where nothing is to be decoded, all but the last id. Ends early where the job is interrupted. Raises
        ``TurnLostError`` where that happens while others compute.
        """
        running.start(job.ids)
        known = running.cache.length
        job.cached_tokens = job.cached_tokens or known
        while job.interrupted() is None:
            if self.give_way(job, running):
                running.start(job.ids)
                continue
            done = running.cache.length
            # In idle time few: the head over all of them, for the drafters, is one piece that nobody can end.
            rows = self._options.rows_after(0 if job.request.background else done - known)
            if len(job.ids) - done <= (rows if job.request.max_tokens > 0 else 1):
                return
            cold = done == known and len(job.ids) - done >= self._options.cold_rows and not job.request.background
            try:
                ids = job.ids[done : min(done + rows, len(job.ids) - 1)]
                self._extend(job, running, ids, None if cold else job.interrupt)
            except Interrupted:
                job.resume()

    def give_way(self, job: Job, running: Running[C]) -> bool:
        """A background job lets waiting interactive ones compute; True when it did, and must ``run`` anew.

        Raises ``TurnLostError`` where it was interrupted meanwhile.
        """
        if not job.request.background or not self._turns.interactive_waiting():
            return False
        running.stop()
        self._turns.leave()
        if not self._turns.enter(True, job.cancel, job.interrupted, job.interrupt):
            raise TurnLostError
        return True

    def _extend(self, job: Job, running: Running[C], ids: list[int], interrupt: Interrupt | None) -> None:
        """Rows without logits; in idle time (a background job) with: drafters learn from them, for 30 % more work."""
        if not ids:
            return
        learner = self._speculator if job.request.background else None
        rows = torch.arange(len(ids)) if learner is not None else torch.tensor([], dtype=torch.long)
        logits = self._transformer.forward(torch.tensor(ids), running.cache, logit_rows=rows, interrupt=interrupt)
        running.ids += ids
        if learner is not None:
            learner.learn(ids, likeliest(logits))
            learner.follow(running.ids, job.interrupt)


class TurnLostError(Exception):
    """A background job was interrupted while others computed."""
