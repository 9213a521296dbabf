"""Documents to ask a checker about: the hole's buffer, rewritten so that an ordinary LSP request answers our question.

The typed hole `_hole(lambda _hv: _hv)` is generic: the checker itself solves its type variable for what the context
wants, and tells it when one hovers over `_hv`. No error message is parsed (measured: that is wrong half of the time).
"""

from __future__ import annotations

from dataclasses import dataclass

from holefill.context.types.oracle import Hole, Role
from holefill.context.types.specs import HOLE_NAME, LspSpec


@dataclass(frozen=True, slots=True)
class Probe:
    text: str
    offset: int
    """Character to ask at."""
    inserted_at: int = 0
    inserted_lines: int = 0
    """Lines put in before ``inserted_at``, a line number of the original."""

    def original_line(self, line: int) -> int:
        return line - self.inserted_lines if line >= self.inserted_at + self.inserted_lines else line


_NO_CONTEXT = frozenset({Role.STATEMENT, Role.CONDITION, Role.ITERABLE, Role.CONTEXT_MANAGER, Role.RAISED})
"""Anything may stand there, as far as a checker infers it; what is usual there the floor knows."""


def wants_nothing(spec: LspSpec, hole: Hole) -> bool:
    """No checker can tell a type, because nothing around the hole asks for one."""
    # TypeScript types a function by its use, so what it returns can be wanted without an annotation.
    unwritten = hole.role is Role.RETURN and not hole.annotation and "python" in spec.languages
    return hole.role in _NO_CONTEXT or unwritten


def hover_probe(spec: LspSpec, hole: Hole) -> Probe | None:
    """Hovering there tells the type wanted at the hole."""
    subject = "" if hole.subject is None else hole.slice(hole.subject)
    start, end = int(hole.start), int(hole.end)
    fill = spec.generic_hole
    if hole.role is Role.STATEMENT:
        return None
    if hole.role is Role.COMPARED or (hole.role is Role.TARGET and spec.typed_value):
        return None if hole.subject is None else typed_probe(spec, hole, hole.subject)
    if hole.role is Role.INDEX and hole.subject is not None:
        close = hole.text.find("]", end)
        if not spec.index_call or close < 0:
            return None
        start, end, fill = hole.subject[0], close + 1, spec.index_call.format(subject, fill)
    elif hole.role is Role.OPERAND and hole.subject is not None:
        method = spec.operator_calls.get(hole.operator)
        if method is None:
            return None
        start, fill = hole.subject[0], f"({subject}).{method}({fill})"
    return _with_helper(spec, hole, start, end, fill, fill.rindex(HOLE_NAME))


def typed_probe(spec: LspSpec, hole: Hole, expression: tuple[int, int]) -> Probe:
    """Hovering there tells the type of an expression that stands before the hole."""
    if not spec.typed_value:
        return Probe(hole.text, expression[1] - 1)
    fill = spec.typed_value.format(hole.text[expression[0] : expression[1]])
    return _with_helper(spec, hole, hole.start, hole.end, fill, fill.index(HOLE_NAME))


def may_reveal(spec: LspSpec, hole: Hole) -> bool:
    """It is the dearest of all questions."""
    of_another = hole.role in (Role.STATEMENT, Role.COMPARED, Role.INDEX, Role.OPERAND)
    return bool(spec.reveal_hole) and not of_another and hole.typed_around


def reveal_probe(spec: LspSpec, hole: Hole) -> Probe:
    """Its diagnostics name the type wanted, where ``may_reveal``."""
    return _with_helper(spec, hole, hole.start, hole.end, spec.reveal_hole, 0)


def members_probe(hole: Hole) -> Probe:
    """Completing there offers the members; checkers filter by what stands at the cursor, so nothing may."""
    return Probe(hole.text[: hole.name_start] + hole.text[hole.name_end :], hole.name_start)


def arm_probe(spec: LspSpec, hole: Hole, arm: str) -> Probe | None:
    """Completing there offers the members of one type, as if the receiver were of it."""
    if not spec.cast or hole.receiver is None or '"' in arm:
        return None
    start, end = hole.receiver
    fill = spec.cast.format(arm) + hole.text[end : hole.name_start]
    return _with_helper(spec, hole, start, hole.name_end, fill, len(fill))


def signature_probe(hole: Hole) -> Probe:
    """Without the hole's own call: its parameters would be told else."""
    return Probe(hole.text, hole.name_start)


def baseline_probe(spec: LspSpec, hole: Hole) -> Probe:
    """The errors it has are no fault of any fill."""
    return _with_helper(spec, hole, hole.start, hole.end, spec.generic_hole, 0)


def _with_helper(spec: LspSpec, hole: Hole, start: int, end: int, fill: str, point: int) -> Probe:
    text = hole.text[:start] + fill + hole.text[end:]
    at = hole.statement
    return Probe(
        text=text[:at] + spec.helper + text[at:],
        offset=start + point + len(spec.helper),
        inserted_at=text.count("\n", 0, at),
        inserted_lines=spec.helper.count("\n"),
    )
