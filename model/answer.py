"""One answer while it grows: tokens in, chunks out, text only once nothing can cut it any more."""

from __future__ import annotations

from holefill.model.request import Candidate, Chunk, FinishReason, GenerateRequest, Timing
from holefill.model.stops import StopRule, StopState
from holefill.model.tokenizer import Tokenizer


class Answer:
    def __init__(self, request: GenerateRequest, tokenizer: Tokenizer) -> None:
        self._max_tokens = request.max_tokens
        self._stop_ids = tokenizer.stop_ids
        self._decoder = tokenizer.stream()
        self._typed = len(request.typed)  # characters still to drop: the user has written them
        self._rule = StopRule(request.stop)
        self._state = StopState("", 0)
        self._fed = 0  # characters given to the rule
        self._shown = 0  # characters already in chunks
        self._held: list[tuple[int, int, float]] = []  # (character the token starts at, id, logprob)
        self._taken: list[tuple[int, float]] = []  # (id, logprob) of the tokens in chunks
        self._end_logprob = 0.0  # of the stop token
        self.tokens = 0
        """Tokens the model produced, a stop token included."""
        self.finish: FinishReason | None = None

    def push(self, token_id: int, logprob: float) -> None:
        """Take one token; sets ``finish`` when it completes the answer."""
        self.tokens += 1
        if token_id in self._stop_ids:
            self.finish, self._end_logprob = FinishReason.STOP_TOKEN, logprob
            return
        self._held.append((self._fed, token_id, logprob))
        text = self._decoder.push(token_id)
        text, self._typed = text[self._typed :], max(self._typed - len(text), 0)
        self._fed += len(text)
        self._state = self._rule.feed(text)
        self.finish = self._state.done
        if self.finish is None and self.tokens >= self._max_tokens:
            self.finish = FinishReason.LENGTH

    def chunk(self) -> Chunk | None:
        """What became certain since the last chunk, or None."""
        return self._take(self._state.settled) if self._state.settled > self._shown else None

    def last(self, finish: FinishReason, timing: Timing) -> Chunk:
        """The rest of the answer. A token is the answer's when it starts before the cut."""
        if self._state.done is None:
            self._rule.feed(self._decoder.finish())
            self._state = self._rule.finish()
        rest = self._take(len(self._state.text))
        return Chunk(rest.text, rest.token_ids, rest.logprobs, self._state.done or finish, timing)

    def whole(self) -> Candidate:
        """All of it, after ``last``."""
        ids, logprobs = tuple(id_ for id_, _ in self._taken), [logprob for _, logprob in self._taken]
        end = self._end_logprob if self._state.done is None else 0.0
        return Candidate(self._state.text[: self._shown], sum(logprobs), ids, end)

    def _take(self, end: int) -> Chunk:
        ready = [held for held in self._held if held[0] < end]
        self._held = self._held[len(ready) :]
        self._taken += [(id_, logprob) for _, id_, logprob in ready]
        text = self._state.text[self._shown : end]
        self._shown = end
        return Chunk(text, tuple(id_ for _, id_, _ in ready), tuple(logprob for _, _, logprob in ready))
