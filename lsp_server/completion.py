"""The frozen messages of the completion pipeline; ``completer.Completer.complete`` maps one to the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from holefill.context.items import CharOffset, Cursor, Pack
from holefill.lsp_server.judge import Judged
from holefill.model.request import Candidate, FinishReason, Sampling, Shape, Timing


class Trigger(StrEnum):
    AUTOMATIC = "automatic"
    INVOKED = "invoked"


class Fit(StrEnum):
    """How much is done so that a suggestion fits its place; each step includes those before it."""

    OFF = "off"
    MASKS = "masks"
    """The model cannot write what would not lex or close, nor begin with a member that a known receiver lacks."""
    JUDGE = "judge"
    """Several answers are checked against the repository, and ordered by how the file goes on behind them."""
    ON = "on"
    """A name that does not exist is written again among those that do."""

    @property
    def judges(self) -> bool:
        """Whether there is more than one answer to choose from."""
        return self in (Fit.JUDGE, Fit.ON)


class Reason(StrEnum):
    """Why there is, or is not, a suggestion. Every answer carries one."""

    MODEL = "model"
    TYPE_THROUGH = "type_through"
    """Answered from the cache: the user typed what had been suggested."""
    CACHE = "cache"
    EMPTY = "empty"
    """The model had nothing to add."""
    DUPLICATE = "duplicate"
    """The suggestion repeated the text after the cursor."""
    LOOP = "loop"
    """The suggestion was one short thing again and again."""
    SECRET = "secret"
    """The suggestion looked like a credential that the user's file does not hold."""
    COPY = "copy"
    """The suggestion repeated, at length, training text that the user's repository does not hold."""
    LOW_CONFIDENCE = "low_confidence"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    TOO_LARGE = "too_large"
    BINARY = "binary"
    BAD_POSITION = "bad_position"
    DISABLED = "disabled"
    SECRET_FILE = "secret_file"
    MODEL_LOADING = "model_loading"
    ENGINE_ERROR = "engine_error"


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    cursor: Cursor
    trigger: Trigger = Trigger.AUTOMATIC
    selected_text: str | None = None
    """Text of the entry highlighted in the editor's suggest widget; an answer must start with it."""
    due_ms: float | None = None
    """From then on the answer ends as soon as it has something to show. Not part of what is asked."""
    alternatives: int = 0
    """Other answers wanted beside the first; each costs about an answer."""


@dataclass(frozen=True, slots=True)
class CompleterOptions:
    """Everything that changes what is suggested; the evaluation varies these."""

    prefix_tokens: int = 400
    """The plain last-N prefix (PROMPT.md §5); its start moves in steps so that the KV prefix stays valid."""
    suffix_tokens: int = 64
    """PROMPT.md §2; this is what every keystroke re-prefills."""
    context_tokens: int = 0
    """Budget of repository context in the prompt; 0 = none, the measured default for the small models."""
    context_form: str = "comments"
    """Where in the prompt it stands: a row of ``context.forms.FORMS``."""
    heal: bool = True
    """Leave a half-typed word out of the prompt and have the answer begin with it: 7 exact matches of 100 more where
    the cursor stands in one (LOG.md). Only where the backend can."""
    facts: bool = False
    """Gather without a budget too, in the background: what is known by then feeds drafts."""
    judged_prefix_tokens: int = 1200
    judged_suffix_tokens: int = 256
    """At least so much of the file stands in the prompt where answers are judged: one answer gains nothing by it, the
    judge's choice among several does (LOG.md)."""
    max_new_tokens: int = 64
    shape: Shape | None = None
    """None: chosen from the cursor (mid-line → statement, else block)."""
    sampling: Sampling = field(default_factory=Sampling)
    gather_ms: float = 40.0
    deadline_ms: float | None = None
    fit: Fit = Fit.MASKS
    """For languages that ``fit_by_language`` does not name. Masks cost no time, and win members (LOG.md)."""
    fit_by_language: tuple[tuple[str, Fit], ...] = ()
    judge_ms: float = 250.0
    """For checking and repair together; less where the request is due earlier."""
    show_threshold: float = -10.0
    """Mean log-probability of the first line below which an automatic suggestion stays silent."""
    show_probability: float = 0.0
    """The same for the probability of being kept."""

    def fit_of(self, language: str) -> Fit:
        return dict(self.fit_by_language).get(language, self.fit)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was used, dropped and spent for one answer."""

    pack: Pack = field(default_factory=Pack)
    names: tuple[str, ...] = ()
    """Of which the answer had to begin with one, as far as they were not typed; none: with anything."""
    prompt_tokens: int = 0
    stage_ms: dict[str, float] = field(default_factory=dict)
    """gather, names, prompt, generate, postprocess, judge, total."""
    timing: Timing = field(default_factory=Timing)
    finish: FinishReason | None = None
    mean_logprob: float | None = None
    """Of the first line of the raw text."""
    raw_text: str = ""
    """What the engine returned after its stop rule, before post-processing."""
    note: str = ""
    judged: Judged | None = None
    """What the repository says of the answer; None where nobody asked."""


@dataclass(frozen=True, slots=True)
class Completion:
    """``text`` is inserted at the cursor; what follows it stays."""

    text: str
    reason: Reason
    receipt: Receipt = field(default_factory=Receipt)
    alternatives: tuple[str, ...] = ()
    """Other texts for the same place, the likeliest first."""
    candidates: tuple[Candidate, ...] = ()
    """The model's answers as they were before post-processing, ``text`` first; none when only one was asked for."""


def accepted(cursor: Cursor, completion: Completion) -> Cursor:
    """Where the user is who takes ``completion`` at ``cursor``."""
    before = cursor.prefix + completion.text
    return replace(cursor, text=before + cursor.suffix, offset=CharOffset(len(before)))


def with_selection(request: CompletionRequest) -> tuple[Cursor, str]:
    """The cursor as if the entry highlighted in the suggest widget were accepted, and what of it is not typed yet."""
    cursor, selected = request.cursor, request.selected_text
    if not selected:
        return cursor, ""
    for length in range(min(len(selected), len(cursor.prefix)), -1, -1):
        if cursor.prefix.endswith(selected[:length]):
            rest = selected[length:]
            text = cursor.prefix + rest + cursor.suffix
            return replace(cursor, text=text, offset=CharOffset(cursor.offset + len(rest))), rest
    return cursor, ""
