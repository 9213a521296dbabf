"""One request on its way through the engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Timer

from holefill.model.alternatives import Step
from holefill.model.answer import Answer
from holefill.model.cancel import CancelToken, Interrupt
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
    interrupt: Interrupt = field(default_factory=Interrupt)
    """Ends the forward that runs."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Meanwhile a cancel ends the forward that runs, and so does the deadline as long as nothing is decoded: it
        keeps the text so far, to which a decode step still adds."""
        self.cancel.on_cancel(self.interrupt.set)
        left = self._ms_left()
        timer = None if left is None else Timer(max(left, 0) / 1000, self.expire)
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()

    def expire(self) -> None:
        """The deadline has come."""
        if not self.decoding:
            self.interrupt.set()

    def resume(self) -> None:
        """After an interrupt: clears it, unless it was this request's own end."""
        self.interrupt.clear()
        if self.interrupted() is not None:  # a cancel may have come while it was cleared
            self.interrupt.set()

    def interrupted(self) -> FinishReason | None:
        if self.cancel.is_set():
            return FinishReason.CANCELLED
        left = self._ms_left()
        return FinishReason.DEADLINE if left is not None and left <= 0 else None

    def _ms_left(self) -> float | None:
        """Until the deadline."""
        limit = self.request.deadline_ms
        return None if limit is None else limit - (time.monotonic() - self.submitted) * 1000

    @property
    def written(self) -> int:
        """Tokens of the answer, those of a branch included."""
        return len(self.ids) - len(self.request.prompt_ids)

    def count_forward(self) -> None:
        """The first round ends the prefill: its forward took the last of the prompt."""
        if self.decoding:
            self.forwards += 1
        else:
            self.decoding = time.monotonic()

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
