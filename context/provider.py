"""The protocols this layer needs from others, and the one it offers: ``ContextProvider``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from holefill.context.items import Cursor, Item


class Tokenizer(Protocol):
    """What packing and prompt building need; ``model.tokenizer.Tokenizer`` satisfies it."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; special-token spellings inside ``text`` stay plain text."""

    def decode(self, ids: Sequence[int]) -> str: ...

    def special_id(self, name: str) -> int | None:
        """Id of a special token by its spelling, or None when the vocabulary lacks it."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock; every stage of a request shares one."""

    at: float

    @classmethod
    def after_ms(cls, ms: float) -> Deadline:
        return cls(time.monotonic() + ms / 1000)

    def remaining_ms(self) -> float:
        return max(0.0, (self.at - time.monotonic()) * 1000)

    def expired(self) -> bool:
        return time.monotonic() >= self.at


class ContextProvider(Protocol):
    """A source of context. Total: an internal failure is an empty answer, never an exception to the caller."""

    name: str

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]: ...


@runtime_checkable
class Preparing(Protocol):
    """A provider that does some of its work in the background, and can be told to do it now."""

    def prepare(self, cursor: Cursor) -> None: ...
