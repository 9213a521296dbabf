"""The vocabulary of the context layer: frozen values that cross every seam."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

CharOffset = NewType("CharOffset", int)
"""Index into a Python ``str`` (code points)."""
ByteOffset = NewType("ByteOffset", int)
"""Index into the UTF-8 encoding; what tree-sitter speaks."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of one workspace file; ``path`` is relative to its root and POSIX style."""

    path: str
    start: ByteOffset
    end: ByteOffset


@dataclass(frozen=True, slots=True)
class Cursor:
    """A frozen snapshot of the document around one hole. Never holds a live document."""

    path: str
    """Absolute path of the file (it need not exist on disk)."""
    text: str
    offset: CharOffset
    language: str
    """A key of ``syntax.languages.LANGUAGES``, or ``"text"``."""
    root: str | None = None
    """Absolute path of the workspace folder that holds the file."""
    version: int = 0

    @property
    def prefix(self) -> str:
        return self.text[: self.offset]

    @property
    def suffix(self) -> str:
        return self.text[self.offset :]


class ItemRole(StrEnum):
    """What an item says of the hole itself; forms of a prompt choose by it (``forms``)."""

    CALLEE = "callee"
    """The signature of the call that the cursor is inside of."""
    MEMBERS = "members"
    """What the receiver before the cursor offers."""
    EXPECTED = "expected"
    EXAMPLE = "example"
    """A line of the workspace that makes the same call."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of context: text for the prompt, spans for the metrics, ids for deduplication."""

    text: str
    source: str
    """Name of the provider that made it."""
    spans: tuple[Span, ...] = ()
    symbol_ids: tuple[str, ...] = ()
    score: float = 0.0
    """Comparable within one source only; higher is better."""
    cost_ms: float = 0.0
    role: ItemRole = ItemRole.OTHER


@dataclass(frozen=True, slots=True)
class Dropped:
    """An item the packer left out, and why; kept for the receipt."""

    item: Item
    reason: str


@dataclass(frozen=True, slots=True)
class Pack:
    """What goes into the prompt, most stable first."""

    items: tuple[Item, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    tokens: int = 0
    provider_ms: dict[str, float] = field(default_factory=dict)
    facts: tuple[Item, ...] = ()
    """Everything the providers said, whether or not the prompt has room for it: for drafts and checks."""
