"""What goes into an engine and what comes out: the ``Backend`` protocol and its frozen messages.

Imports no torch: the language server speaks these types to an engine in another process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from holefill.model.cancel import CancelToken
from holefill.model.constrain.constraint import Constraint


class Shape(StrEnum):
    """Where a completion is complete."""

    NONE = "none"
    """Only stop tokens and the token limit end it."""
    LINE = "line"
    """The rest of the cursor's line (or the first non-blank line, when the text starts with a newline)."""
    STATEMENT = "statement"
    """One statement: the line, continued while brackets opened in the completion stay open, and through the block that
    it heads where the suffix has none for it."""
    BLOCK = "block"
    """Until a blank line after content, or a dedent below the cursor's indentation."""


@dataclass(frozen=True, slots=True)
class StopSpec:
    """The stop rule of one request, as data (PROMPT.md §6). All fields are facts about the text around the hole."""

    shape: Shape = Shape.NONE
    indent: int = 0
    """Columns of indentation of the cursor's line; BLOCK ends at a line indented less."""
    suffix_lines: tuple[str, ...] = ()
    """First non-blank lines after the cursor, stripped; a completion line equal to one of them ends before it."""
    closers: str = ""
    """Closing brackets the suffix already supplies, innermost first; a completion ends before an unmatched one."""
    line_comment: str = "#"
    """The language's line comment, so that brackets inside comments do not count."""
    head: str = ""
    """What ends a line that heads a block of indented lines; empty where blocks stand between brackets."""
    next_indent: int = 0
    """Columns of indentation of the suffix's next line with text, after the cursor's."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Greedy when ``temperature`` is 0."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A prompt as token ids (special tokens are ids, so user text can never forge one) and when to stop."""

    prompt_ids: tuple[int, ...]
    max_tokens: int = 64
    stop: StopSpec = StopSpec()
    sampling: Sampling = Sampling()
    deadline_ms: float | None = None
    """Wall-clock limit from submission; the text so far is the answer (finish reason ``deadline``)."""
    prompt_text: str = ""
    """The same prompt as text, for servers that take no token ids."""
    background: bool = False
    """Prefill work that any interactive request may interrupt."""
    draft_texts: tuple[str, ...] = ()
    """Text the answer is likely to quote (old text of the edited region, context items); used for drafting only."""
    repository: str = ""
    """Key under which the repository's text was sent (``model.repository``); used for drafting only."""
    constraint: Constraint | None = None
    """What may be said at all; None: anything."""
    alternatives: int = 0
    """Other answers wanted beside the first, as ``candidates`` of the last chunk. They cost about an answer each and
    are computed after the first one is complete; a cancel or the deadline ends them early."""
    foresight: bool = False
    """Candidates carry ``plain_logprob``; each costs a forward of some 100 tokens."""
    typed: str = ""
    """A half-typed word that ``prompt_ids`` leave out: the answer begins with it, and its text is what follows it.
    Only for backends whose ``heals`` is true. ``constraint.prefix`` ends before it."""


class FinishReason(StrEnum):
    STOP_TOKEN = "stop_token"
    SHAPE = "shape"
    SUFFIX_LINE = "suffix_line"
    CLOSER = "closer"
    LENGTH = "length"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of one request went; counts in tokens, times in milliseconds."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens whose KV rows were reused."""
    completion_tokens: int = 0
    forwards: int = 0
    """Target forward passes after the prefill; completion_tokens / forwards is the MAT."""
    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One whole answer to a prompt, cut by the stop rule.

    To get several, set ``GenerateRequest.alternatives`` (from an editor's request: ``CompletionRequest.alternatives``);
    they are ``candidates`` of the last ``Chunk``, and of ``Completion`` as they were before post-processing.
    """

    text: str
    logprob: float
    """Sum of log p of the tokens under the model (temperature 1)."""
    token_ids: tuple[int, ...] = ()
    end_logprob: float = 0.0
    """Of the stop token behind them; 0 where the answer was cut instead."""
    plain_logprob: float | None = None
    """Sum of log p of the answer, and of what follows the hole, behind the prefix as plain text (``model.foresight``);
    where ``GenerateRequest.foresight`` asked for it and there was time."""

    @property
    def mean_logprob(self) -> float:
        """Per token: comparable between answers of different lengths."""
        return self.logprob / max(len(self.token_ids), 1)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the answer. Text is already cut by the stop rule; the last chunk carries ``finish`` and ``timing``."""

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    """log p of each id in ``token_ids`` under the target model (temperature 1)."""
    finish: FinishReason | None = None
    timing: Timing | None = None
    candidates: tuple[Candidate, ...] = ()
    """On the last chunk, when alternatives were asked for: this answer first, then others, the likeliest first."""


@runtime_checkable
class HealingBackend(Protocol):
    """One that may take ``GenerateRequest.typed``."""

    @property
    def heals(self) -> bool: ...


@runtime_checkable
class ConstrainedBackend(Protocol):
    """One that says whether it keeps to ``GenerateRequest.constraint``; one that does not say so does."""

    @property
    def constrains(self) -> bool: ...


@runtime_checkable
class WarmingBackend(Protocol):
    """Our own engine on this machine: in idle time it computes rows of a prompt that is likely to be asked for."""

    @property
    def warms(self) -> bool:
        """False where text that nobody asked about would leave the machine."""
        ...

    def warm(self, prompt_ids: Sequence[int], cancel: CancelToken | None = None) -> Timing:
        """Background work: any request interrupts it within one step. Raises ``model.errors.EngineError``."""
        ...


class Backend(Protocol):
    """An engine in this process, in another, or any OpenAI-compatible server."""

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        """Yields at least one chunk; the last has ``finish``. Raises ``model.errors.EngineError`` only."""
        ...

    @property
    def model_name(self) -> str: ...

    def close(self) -> None: ...
