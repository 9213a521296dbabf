"""One request on its way through the engine."""

from __future__ import annotations

import time
from dataclasses import dataclass

from holefill.model.alternatives import Step
from holefill.model.answer import Answer
from holefill.model.cancel import CancelToken
from holefill.model.healing import Healing
from holefill.model.request import FinishReason, GenerateRequest, Timing


@dataclass(slots=True)
class Job:
    request: GenerateRequest
    cancel: CancelToken
    submitted: float
    ids: list[int]
    answer: Answer
    cached_tokens: int = 0
    forwards: int = 0
    started: float = 0.0
    decoding: float = 0.0
    healing: Healing | None = None
    steps: list[Step] | None = None
    """What was thought at every token; kept only where alternatives are wanted."""

    def interrupted(self) -> FinishReason | None:
        if self.cancel.is_set():
            return FinishReason.CANCELLED
        limit = self.request.deadline_ms
        if limit is not None and (time.monotonic() - self.submitted) * 1000 >= limit:
            return FinishReason.DEADLINE
        return None

    def timing(self) -> Timing:
        now = time.monotonic()
        started = self.started or now
        decoding = self.decoding or now
        return Timing(
            prompt_tokens=len(self.request.prompt_ids),
            cached_tokens=self.cached_tokens,
            completion_tokens=self.answer.tokens,
            forwards=self.forwards,
            queue_ms=(started - self.submitted) * 1000,
            prefill_ms=(decoding - started) * 1000 if self.started else 0.0,
            decode_ms=(now - decoding) * 1000,
        )
