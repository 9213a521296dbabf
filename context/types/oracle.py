"""What a type oracle is asked and what it answers. One oracle per language; the floor is one too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from holefill.context.items import CharOffset
from holefill.context.provider import Deadline


class Cap(StrEnum):
    """What an oracle can do; proven by its self-test at start, taken away when a recipe stops working."""

    HOVER = "hover"
    REVEAL = "reveal"
    MEMBERS = "members"
    SIGNATURES = "signatures"
    DEFINITION = "definition"
    REPORT = "report"


class Role(StrEnum):
    """The place of the hole in its statement."""

    ARGUMENT = "argument"
    RETURN = "return"
    ANNOTATED = "annotated"
    """The value of something with a written type: a variable, a field, a parameter's default."""
    TARGET = "target"
    """The value of an assignment whose target has a type but no annotation here: ``o.a = |``, ``d[k] = |``."""
    INDEX = "index"
    OPERAND = "operand"
    COMPARED = "compared"
    CONDITION = "condition"
    ITERABLE = "iterable"
    CONTEXT_MANAGER = "context_manager"
    RAISED = "raised"
    OTHER = "other"
    STATEMENT = "statement"
    """A statement of its own: any type will do."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A hole in a repaired buffer: ``text[start:end]`` is the expression that stands for it.

    ``name_start`` is where the name at the cursor begins, with what is typed of it; it differs from ``start`` for a
    member (``start`` is then its receiver's start). A name that is called stands for the whole call.
    """

    path: str
    language: str
    text: str
    start: CharOffset
    end: CharOffset
    name_start: CharOffset
    name_end: CharOffset
    role: Role
    statement: CharOffset
    """Start of the line on which the enclosing top-level statement, decorators included, begins."""
    receiver: tuple[CharOffset, CharOffset] | None = None
    """The expression before the dot, when the hole is a name after one."""
    subject: tuple[CharOffset, CharOffset] | None = None
    """What decides the type: the target, the indexed, the left operand, the compared."""
    operator: str = ""
    annotation: str = ""
    """The written type, where there is one."""
    callee: tuple[CharOffset, CharOffset] | None = None
    argument: int = -1
    """Index of the argument, or -1 where the hole is none."""
    keyword: str = ""
    typed: str = ""
    """What stands of the name before the cursor."""
    root: str | None = None
    version: int = 0
    typed_around: bool = True
    """False: nothing around the hole says what type it wants, as far as the file shows."""

    def slice(self, span: tuple[CharOffset, CharOffset]) -> str:
        return self.text[span[0] : span[1]]


@dataclass(frozen=True, slots=True)
class Location:
    path: str
    line: int
    """From 0."""
    character: int = 0


@dataclass(frozen=True, slots=True)
class TypeInfo:
    text: str
    locations: tuple[Location, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    kind: str = ""
    """method, field, property, class, module or function; empty when not known."""
    type: str = ""
    certain: bool = True
    """False: seen in use after the same receiver, not known to exist."""


@dataclass(frozen=True, slots=True)
class Parameter:
    label: str
    """As written: ``x: int = 0``."""

    @property
    def name(self) -> str:
        return self.label.lstrip("*.").partition(":")[0].partition("=")[0].strip().rstrip("?")

    @property
    def annotation(self) -> str:
        after = self.label.partition(":")[2]
        depth = 0
        for index, char in enumerate(after):
            depth += (char in "([{<") - (char in ")]}")
            if char == "=" and depth <= 0 and after[index + 1 : index + 2] not in (">", "="):
                return after[:index].strip()
        return after.strip()


@dataclass(frozen=True, slots=True)
class Signature:
    label: str
    parameters: tuple[Parameter, ...] = ()
    active: int | None = None
    returns: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Offsets are characters of the text that was reported on."""

    code: str
    message: str
    start: CharOffset
    end: CharOffset


class Source(StrEnum):
    HOVER = "hover"
    SIGNATURE = "signature"
    ANNOTATION = "annotation"
    REVEAL = "reveal"
    ORACLE = "oracle"
    FLOOR = "floor"


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """``value`` is None for "unknown"; ``reason`` then says why. Never a guess."""

    value: T | None
    source: Source
    reason: str = ""
    elapsed_ms: float = 0.0


class TypeOracle(Protocol):
    """Total: no method raises for what the code, the child or the clock does. Any thread may call."""

    @property
    def caps(self) -> frozenset[Cap]: ...

    def sync(self, path: str, text: str | None) -> None:
        """The editor's text of a document; None: the disk counts again."""

    def expected_type(
        self, hole: Hole, deadline: Deadline, least: Callable[[], Hole] | None = None
    ) -> Answer[TypeInfo]:
        """``least``: the same hole in the least text that a check of the whole file needs (``pruning``)."""

    def receiver_type(self, hole: Hole, deadline: Deadline) -> Answer[TypeInfo]: ...

    def members(self, hole: Hole, deadline: Deadline) -> Answer[tuple[Member, ...]]: ...

    def signatures(self, hole: Hole, deadline: Deadline) -> Answer[tuple[Signature, ...]]: ...

    def report(
        self, hole: Hole, filled: str, deadline: Deadline, fill: tuple[int, int] | None = None
    ) -> Answer[tuple[Diagnostic, ...]]:
        """The errors of ``filled`` (the whole text of the document) that its hole does not have.

        ``fill``: its characters there; then those on the fill's lines are all that is asked for.
        """

    def close(self) -> None: ...
