"""One answer as the engine streams it, and the time of a completion's stages."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from holefill.model.cancel import CancelToken
from holefill.model.request import Backend, Candidate, Chunk, FinishReason, GenerateRequest, Timing

_TIMER_SLACK_S = 0.001
"""Another clock than ``perf_counter`` wakes a timer."""
_TRUNCATED = frozenset({FinishReason.LENGTH, FinishReason.DEADLINE, FinishReason.CANCELLED})


@dataclass(slots=True)
class Stages:
    """Milliseconds per stage, in order; ``mark`` closes the one that ran since the last mark."""

    began: float = field(default_factory=time.perf_counter)
    last: float = field(default_factory=time.perf_counter)
    ms: dict[str, float] = field(default_factory=dict)

    def mark(self, name: str) -> None:
        now = time.perf_counter()
        self.ms[name] = (now - self.last) * 1000
        self.last = now

    def total(self) -> dict[str, float]:
        return {**self.ms, "total": (time.perf_counter() - self.began) * 1000}


@dataclass(slots=True)
class Draft:
    """What the engine has said so far."""

    text: str = ""
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason | None = None
    timing: Timing = field(default_factory=Timing)
    first_line_done: bool = False
    candidates: tuple[Candidate, ...] = ()

    def add(self, chunk: Chunk) -> None:
        if not self.first_line_done:
            self.logprobs.extend(chunk.logprobs)
        self.text += chunk.text
        self.first_line_done = "\n" in self.text.lstrip()
        self.finish = chunk.finish or self.finish
        self.candidates = chunk.candidates or self.candidates
        self.timing = chunk.timing or self.timing

    @property
    def truncated(self) -> bool:
        return self.finish in _TRUNCATED

    @property
    def says_nothing(self) -> bool:
        """The model ended at once. Where it had to repeat a half-typed word first, the word was whole to it, and what
        follows a whole word is another question than what the word becomes."""
        return not self.text and self.finish is FinishReason.STOP_TOKEN

    def mean_logprob(self) -> float | None:
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else None


def generate(backend: Backend, request: GenerateRequest, cancel: CancelToken, due: float | None = None) -> Draft:
    """What the engine said; past ``due`` (``perf_counter``) it is stopped once there is something to show.

    Raises ``EngineError``.
    """
    draft, hurry, late = Draft(), CancelToken(), threading.Event()
    cancel.on_cancel(hurry.cancel)

    def end_if_late() -> None:
        if due is not None and time.perf_counter() >= due and draft.text.strip() and draft.finish is None:
            late.set()
            hurry.cancel()

    timer = None
    if due is not None and request.alternatives > 0:  # while others are written no chunk comes that could be looked at
        timer = threading.Timer(max(0.0, due - time.perf_counter()) + _TIMER_SLACK_S, end_if_late)
        timer.daemon = True
        timer.start()
    try:
        for chunk in backend.generate(request, hurry):
            draft.add(chunk)
            if cancel.is_set():
                break
            end_if_late()
    finally:
        if timer is not None:
            timer.cancel()
    if late.is_set() and not cancel.is_set() and draft.finish in (None, FinishReason.CANCELLED):
        draft.finish = FinishReason.DEADLINE
    return draft
