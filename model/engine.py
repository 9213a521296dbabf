"""The engine: one request at a time through prefill and decode, with KV reuse between requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Generic

from holefill.model.alternatives import Step
from holefill.model.answer import Answer
from holefill.model.cancel import CancelToken
from holefill.model.candidates import Candidates
from holefill.model.decoding import Constrain, Decoder
from holefill.model.errors import EngineError
from holefill.model.foresight import Foresight
from holefill.model.healing import Healer
from holefill.model.job import Job
from holefill.model.kv.prefix import PrefixCache, Running
from holefill.model.limits import Limits
from holefill.model.options import EngineOptions
from holefill.model.parts import C, Speculator, Target
from holefill.model.prefill import Prefill, TurnLostError
from holefill.model.repository import RepositoryReply, RepositoryUpdate
from holefill.model.request import Chunk, FinishReason, GenerateRequest, Timing
from holefill.model.tokenizer import Tokenizer
from holefill.model.turns import Turns

__all__ = ["Engine", "EngineOptions"]

log = logging.getLogger(__name__)


class Engine(Generic[C]):
    """Implements ``model.request.Backend``. Safe to call from any thread; the calling thread computes."""

    def __init__(
        self,
        transformer: Target[C],
        tokenizer: Tokenizer,
        options: EngineOptions | None = None,
        speculator: Speculator | None = None,
        constrain: Constrain | None = None,
    ) -> None:
        options = options or EngineOptions()
        self._name = options.name
        self._transformer = transformer
        self.tokenizer = tokenizer
        self._speculator = speculator
        self._closed = False
        vocabulary, rows = options.vocab_size or tokenizer.vocab_size, options.pool_rows(transformer.row_bytes)
        self._limits = Limits(vocabulary, options.max_context, rows)
        self._healer = Healer(tokenizer, vocabulary)
        fim = tokenizer.fim_ids()
        self._prefixes = PrefixCache(transformer.new_pool(rows), None if fim is None else fim[1])
        self._turns = Turns()
        self._prefill = Prefill(transformer, self._turns, options, speculator)
        self._decoder = Decoder(
            transformer, tokenizer, self._prefill, speculator, draft_budget=options.draft_budget, constrain=constrain
        )
        foresight = Foresight(transformer, tokenizer, self._prefixes, self._prefill, min(options.max_context, rows))
        self._candidates = Candidates(tokenizer, self._healer, self._prefixes, self._prefill, self._decoder, foresight)

    @property
    def model_name(self) -> str:
        return self._name

    @property
    def transformer(self) -> Target[C]:
        """For measurements beside the requests; what holds the turn may not be disturbed."""
        return self._transformer

    @property
    def speculator(self) -> Speculator | None:
        return self._speculator

    @property
    def warms(self) -> bool:
        return True

    @property
    def heals(self) -> bool:
        """Takes ``GenerateRequest.typed``."""
        return True

    @property
    def takes_repositories(self) -> bool:
        return self._speculator is not None

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        """Takes no turn: requests are computed meanwhile."""
        if self._speculator is None:
            raise EngineError("this engine does not draft, so it takes no repository: load it with speculation")
        return self._speculator.sync_repository(update)

    def close(self) -> None:
        self._closed = True

    def check(self, request: GenerateRequest) -> None:
        """Raises ``EngineError`` for a request that cannot be answered, before any work."""
        if self._closed:
            raise EngineError("the engine is closed: start a new one")
        self._limits.check(request)

    def warm(self, prompt_ids: Sequence[int], cancel: CancelToken | None = None) -> Timing:
        """Prefill in the background, so that a request with this prompt finds its rows."""
        self._healer.spellings()  # takes a moment, which the first key should not wait for
        request = GenerateRequest(tuple(prompt_ids), max_tokens=0, background=True)
        *_, last = self.generate(request, cancel or CancelToken())
        assert last.timing is not None
        return last.timing

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Generator[Chunk, None, None]:
        self.check(request)
        steps = list[Step]() if request.alternatives > 0 else None
        answer = Answer(request, self.tokenizer)
        job = Job(request, cancel, time.monotonic(), list(request.prompt_ids), answer, steps=steps)
        if not self._turns.enter(request.background, cancel, job.interrupted, job.interrupt):
            yield _interrupted(job)
            return
        job.healing = self._healer.begin(request.typed)
        job.started = time.monotonic()
        computing = True
        try:
            with job.watched():
                yield from self._run(job)
        except TurnLostError:
            computing = False
            yield _interrupted(job)
        except (RuntimeError, MemoryError) as error:
            log.error("the forward pass failed: %s", type(error).__name__)
            raise EngineError(f"the model could not compute this request ({error}): try a shorter prompt") from error
        finally:
            if computing:
                self._turns.leave()

    def _run(self, job: Job) -> Iterator[Chunk]:
        running = Running(self._prefixes)
        try:
            self._prefill.run(job, running)
            finish = job.interrupted()
            if finish is not None or job.request.max_tokens == 0:
                yield job.answer.last(finish or FinishReason.LENGTH, job.timing())
                return
            for chunk in self._decoder.run(job, running):
                if chunk.finish is None or job.request.alternatives <= 0:
                    yield chunk
                    continue
                running.stop()  # other answers begin with its rows
                yield replace(chunk, candidates=self._candidates.of(job))
        finally:
            running.stop()  # what was computed is the next request's, however this one ended


def _interrupted(job: Job) -> Chunk:
    """All of the answer of a job that has no turn."""
    return job.answer.last(job.interrupted() or FinishReason.CANCELLED, job.timing())
