"""Candidates judged by what the repository says, and mended by it: where context and model meet after decoding.

A candidate that brings a new error never beats one that does not; among equals the model's own probability decides, of
the answer and of what the file goes on with behind it. A name or member that does not exist is decoded again from there
under the names that do; one that only lacks its import is kept, with the import beside it. What is not done in time is
dropped, never waited for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from holefill.context.check import Checked, Kind, Problem, check, prepare
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import Cursor
from holefill.context.provider import Deadline
from holefill.context.types.registry import HolesRegistry
from holefill.context.types.typed_holes import TypedHoles
from holefill.lsp_server.existing_names import MAX_NAMES, certain_members, keywords, names_in_sight, only_members

REPAIRABLE = frozenset({Kind.NAME, Kind.MEMBER, Kind.KEYWORD})
MAX_REPAIRS = 2
_LEAD = re.compile(r"(?: ?[^\w\s]+|[ \t])$")
"""What the tokens of a name usually take along from before it."""

_AROUND = {Kind.MEMBER: (r"\.\s*", ""), Kind.KEYWORD: ("", r"\s*=(?!=)")}
"""Patterns of what stands before and behind such a name."""

IndexOf = Callable[[str | None], WorkspaceIndex | None]


@dataclass(frozen=True, slots=True)
class Option:
    """One text for the hole, as it would be shown."""

    text: str
    logprob: float
    """Mean per token."""
    raw: str = ""
    """Before post-processing."""
    joint: float | None = None
    """How likely it is with what stands behind it, in log p (``fitting``); None where the model was not asked."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Write on after ``kept`` with one of ``names`` (whole continuations of it)."""

    kept: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    option: Option
    checked: Checked = field(default_factory=Checked)
    rewrites: int = 0
    """Times the model wrote anew, whether or not that was taken."""
    repaired: bool = False

    @property
    def errors(self) -> int:
        return sum(1 for problem in self.checked.problems if not problem.fix)


class Judge:
    """Any thread may call."""

    def __init__(self, index_of: IndexOf, holes: HolesRegistry, *, repair: bool = True) -> None:
        self._index_of = index_of
        self._holes = holes
        self._repair = repair

    def prepare(self, cursor: Cursor, due: Deadline) -> None:
        """What every check at this cursor needs first; while the model writes, it costs nothing."""
        index = self._index_of(cursor.root)
        if index is not None:
            prepare(self._holes.of(index), cursor, due)

    def beginnings(self, cursor: Cursor, due: Deadline) -> tuple[str, ...]:
        """Names of which an answer at ``cursor`` must begin with one (its half-typed word included); none: anything."""
        index = self._index_of(cursor.root)
        return () if index is None else only_members(self._holes.of(index), cursor, due)

    def pick(
        self,
        cursor: Cursor,
        options: Sequence[Option],
        rewrite: Callable[[Rewrite], Option | None],
        due: Deadline,
    ) -> Judged:
        """The best of ``options``, the model's favourite first, mended if need be."""
        index = self._index_of(cursor.root)
        if index is None:
            return Judged(options[0])
        holes = self._holes.of(index)
        best = self._best(holes, cursor, options, due)
        return self._mended(holes, cursor, best, rewrite, due) if self._repair and best.errors else best

    def _best(self, holes: TypedHoles, cursor: Cursor, options: Sequence[Option], due: Deadline) -> Judged:
        first, *others = _ranked(options)
        best = _judged(holes, cursor, first, due)
        for option in others:
            if not best.errors or due.expired():
                break
            other = _judged(holes, cursor, option, due)
            if not other.errors and (other.checked.checked or not best.checked.checked):
                return other
        return best

    def _mended(
        self,
        holes: TypedHoles,
        cursor: Cursor,
        best: Judged,
        rewrite: Callable[[Rewrite], Option | None],
        due: Deadline,
    ) -> Judged:
        rewrites, repaired = 0, False
        for _ in range(MAX_REPAIRS):
            wanted = None if due.expired() else _rewriting(holes, cursor, best, due)
            option = None if wanted is None else rewrite(wanted)
            if option is None:
                break
            rewrites += 1
            after = _judged(holes, cursor, option, due)
            if after.errors >= best.errors or due.expired():
                break
            best, repaired = after, True
            if not best.errors:
                break
        return replace(best, rewrites=rewrites, repaired=repaired)


def _ranked(options: Sequence[Option]) -> list[Option]:
    """The most probable first; where the suffix was not asked of every one, the model's favourite and the others by
    probability per token."""
    if all(option.joint is not None for option in options):
        return sorted(options, key=lambda option: -(option.joint or 0.0))
    return [options[0], *sorted(options[1:], key=lambda option: -option.logprob)]


def _judged(holes: TypedHoles, cursor: Cursor, option: Option, due: Deadline) -> Judged:
    checked = check(holes, cursor, option.text, due)
    return Judged(option, checked)


def _rewriting(holes: TypedHoles, cursor: Cursor, judged: Judged, due: Deadline) -> Rewrite | None:
    """Of the first wrong name; None where nothing is known to put in its place."""
    for problem in sorted(judged.checked.problems, key=lambda problem: problem.start):
        if problem.kind in REPAIRABLE and problem.name and not problem.fix:
            start = _name_start(cursor, judged.option.text, problem)
            return None if start is None else _names_at(holes, cursor, judged.option.text, problem, start, due)
    return None


def _name_start(cursor: Cursor, text: str, problem: Problem) -> int | None:
    """Where the wrong name begins, in characters of the filled text; for a member, after its dot."""
    filled = cursor.prefix + text
    before, after = _AROUND.get(problem.kind, ("", ""))
    pattern = re.compile(rf"{before}\b({re.escape(problem.name)})\b{after}")
    found = [match.start(1) for match in pattern.finditer(filled, max(0, problem.start - 1), problem.end + 1)]
    fits = [start for start in found if start + len(problem.name) > cursor.offset]
    return fits[-1] if fits else None


def _names_at(
    holes: TypedHoles, cursor: Cursor, text: str, problem: Problem, start: int, due: Deadline
) -> Rewrite | None:
    filled = cursor.prefix + text
    typed = filled[start : cursor.offset] if start < cursor.offset else ""
    kept = filled[cursor.offset : start] if start > cursor.offset else ""
    known = _known(holes, cursor, kept, problem.kind, due)
    wrong = {problem.name}
    names = [name[len(typed) :] for name in known if name not in wrong and name != typed and name.startswith(typed)]
    if not names or len(names) > MAX_NAMES:
        return None
    lead = "" if typed else (match.group() if (match := _LEAD.search(kept)) else "")
    return Rewrite(kept[: len(kept) - len(lead)], tuple(sorted({lead + name for name in names})))


def _known(holes: TypedHoles, cursor: Cursor, kept: str, kind: Kind, due: Deadline) -> list[str]:
    """What may stand in place of a wrong name of that kind."""
    match kind:
        case Kind.MEMBER:
            return certain_members(holes, cursor, kept, due)
        case Kind.KEYWORD:
            return keywords(holes, cursor, kept, due)
        case _:
            return names_in_sight(cursor, kept)
