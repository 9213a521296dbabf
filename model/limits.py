"""What an engine can answer at all, told before any work."""

from __future__ import annotations

from dataclasses import dataclass

from holefill.model.errors import EngineError
from holefill.model.request import GenerateRequest


@dataclass(frozen=True, slots=True)
class Limits:
    vocabulary: int
    max_context: int
    """Tokens of prompt and answer together."""
    rows: int
    """Tokens whose keys and values the engine has memory for."""

    def check(self, request: GenerateRequest) -> None:
        """Raises ``EngineError`` that says what to do."""
        if not request.prompt_ids:
            raise EngineError("the prompt is empty: send at least one token")
        if not all(0 <= id_ < self.vocabulary for id_ in (*request.prompt_ids, *request.judging_ids)):
            raise EngineError(
                f"a prompt token is outside the vocabulary of {self.vocabulary}: encode with this model's tokenizer"
            )
        if request.max_tokens < 0:
            raise EngineError("max_tokens is negative: ask for 0 or more")
        total = len(request.prompt_ids) + request.max_tokens
        if total > self.max_context:
            raise EngineError(
                f"the prompt ({len(request.prompt_ids)} tokens) and max_tokens ({request.max_tokens}) exceed the "
                f"context of {self.max_context}: shorten one of them"
            )
        if total > self.rows:
            raise EngineError(
                f"the prompt and max_tokens need {total} rows and the cache has {self.rows}: shorten one of them, or "
                "give the engine more memory (--cache-mb)"
            )
