"""One generation, two views: the product's answer, and the text an official metric needs.

A benchmark's rule and the product's stop rule cut at different places (the product ends before a line of the suffix,
CrossCodeEval at the first ``;``). The backend is asked with stop tokens and the token limit only; the product's own
``StopRule`` then runs over the stream as the engine would run it, and decoding goes on until both views are complete.
Other answers are asked for in a second generation, under the product's own rule: a branch that ran on past the hole
would be none of those that the product chooses from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from holefill.model.cancel import CancelToken
from holefill.model.request import (
    Backend,
    Candidate,
    Chunk,
    ConstrainedBackend,
    FinishReason,
    GenerateRequest,
    HealingBackend,
    StopSpec,
    Timing,
)
from holefill.model.stops import StopRule, StopState


@dataclass(slots=True)
class _Stream:
    """What has arrived, and the product's view of it."""

    rule: StopRule
    text: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    product: StopState | None = None
    """Set when the product's rule is complete; the counts below are from that moment."""
    product_tokens: int = 0
    product_at: float = 0.0
    first_at: float = 0.0
    finish: FinishReason | None = None
    timing: Timing = field(default_factory=Timing)

    def add(self, chunk: Chunk) -> None:
        self.first_at = self.first_at or time.perf_counter()
        self.text += chunk.text
        self.ids.extend(chunk.token_ids)
        self.logprobs.extend(chunk.logprobs)
        self.finish = chunk.finish or self.finish
        self.timing = chunk.timing or self.timing
        if self.product is None:
            state = self.rule.feed(chunk.text)
            if chunk.finish is FinishReason.STOP_TOKEN and state.done is None:
                state = self.rule.finish()
            if state.done is not None or chunk.finish is not None:
                self._settle(state)

    def _settle(self, state: StopState) -> None:
        self.product = state
        self.product_tokens = len(self.ids)
        self.product_at = time.perf_counter()

    def answer(self) -> Chunk:
        """What the engine would have answered under the request's own stop rule."""
        assert self.product is not None
        decode_ms = max(0.0, (self.product_at - self.first_at) * 1000)
        timing = replace(self.timing, decode_ms=decode_ms)  # token and forward counts stay those of the whole stream
        finish = self.product.done or self.finish or FinishReason.LENGTH
        kept = self.product_tokens
        return Chunk(self.product.text, tuple(self.ids[:kept]), tuple(self.logprobs[:kept]), finish, timing)


class RecordingBackend:
    """A ``Backend`` around another; serves one request at a time."""

    def __init__(self, inner: Backend, complete: Callable[[str], bool], stop_rule: bool = True) -> None:
        """``complete(text)``: whether the official rule needs no more text. ``stop_rule``: the product's."""
        self._inner = inner
        self._complete = complete
        self._stop_rule = stop_rule
        self.generated = ""
        """All text of the last request, uncut; with what a request that went on from an earlier answer kept of it."""
        self.prompt_ids: tuple[int, ...] = ()
        """Of the first request, as are ``prompt_text`` and ``_typed``."""
        self.prompt_text = ""
        self._typed = ""
        self._answers: dict[str, str] = {}

    @property
    def model_name(self) -> str:
        return self._inner.model_name

    @property
    def heals(self) -> bool:
        return isinstance(self._inner, HealingBackend) and self._inner.heals

    @property
    def constrains(self) -> bool:
        return not isinstance(self._inner, ConstrainedBackend) or self._inner.constrains

    def close(self) -> None:
        self._inner.close()

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        if not self.prompt_ids:
            self.prompt_ids, self.prompt_text, self._typed = request.prompt_ids, request.prompt_text, request.typed
        went_on = len(request.prompt_ids) > len(self.prompt_ids) and request.prompt_text.startswith(self.prompt_text)
        kept = request.prompt_text[len(self.prompt_text) :].removeprefix(self._typed) if went_on else ""
        self.generated = kept
        stream = _Stream(StopRule(request.stop if self._stop_rule else StopSpec()))
        enough = CancelToken()
        cancel.on_cancel(enough.cancel)
        for chunk in self._inner.generate(replace(request, stop=StopSpec(), alternatives=0), enough):
            stream.add(chunk)
            self.generated = kept + stream.text
            if stream.product is not None and self._complete(self.generated):
                enough.cancel()
        answer = stream.answer()
        self._answers[kept + answer.text] = self.generated
        if request.alternatives > 0 and not cancel.is_set():
            answer = replace(answer, candidates=self._candidates(request, kept, cancel))
        yield answer

    def _candidates(self, request: GenerateRequest, kept: str, cancel: CancelToken) -> tuple[Candidate, ...]:
        """The product's answer again, now from cached rows, and the others; cut by the product's rule alone."""
        found: tuple[Candidate, ...] = ()
        for chunk in self._inner.generate(request, cancel):
            found = chunk.candidates or found
        for candidate in found:
            self._answers.setdefault(kept + candidate.text, kept + candidate.text)
        return found

    def whole(self, raw: str) -> str:
        """All text of the answer whose product's view was ``raw``, uncut; of the last when there is none."""
        return self._answers.get(raw, self.generated)
