"""Members in the order in which they are likely: fits the place, seen after this receiver, seen anywhere, public."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from holefill.context.types.oracle import Hole, Member, Role
from holefill.context.types.signature_text import parameters_in, return_type
from holefill.context.types.type_text import UNKNOWN, TypeNode, consistent, parse_type

_CALLABLE = frozenset({"method", "function", "class"})
_PART = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_CLOSES_VALUE = re.compile(r"[)\]},:]|$")


@dataclass(frozen=True, slots=True)
class Observed:
    """How often names stand after the same receiver in this file, in its folder, and after any receiver in the file."""

    file: Counter[str]
    folder: Counter[str]
    anywhere: Counter[str]
    complete: bool = True
    """False: some of the folder was not read yet."""


def rank_members(
    members: tuple[Member, ...], hole: Hole, observed: Observed, wanted: str, is_subtype: Callable[[str, str], bool]
) -> tuple[Member, ...]:
    node = parse_type(wanted)
    place = _Place(hole, None if node.name == UNKNOWN else node)
    scored = [
        (_tier(member, observed), -_score(member, place, observed, is_subtype), index, member)
        for index, member in enumerate(members)
    ]
    return tuple(member for *_, member in sorted(scored, key=lambda entry: entry[:3]))


def _tier(member: Member, observed: Observed) -> int:
    """What the type has; what is defined somewhere or stands after the same receiver; what stands after any."""
    if member.certain:
        return 0
    return 1 if member.kind or member.name in observed.file or member.name in observed.folder else 2


class _Place:
    def __init__(self, hole: Hole, wanted: TypeNode | None) -> None:
        line_end = hole.text.find("\n", hole.name_end)
        after = hole.text[hole.name_end : len(hole.text) if line_end < 0 else line_end].lstrip(";")
        self.wanted = wanted
        self.called = after.startswith("(")
        self.given_arguments = self.called and not after.startswith("()")
        self.used_as_value = after[:1] in (" ", ".", "[") or (bool(after) and _CLOSES_VALUE.match(after) is not None)
        self.bare = hole.role is Role.STATEMENT and not after.strip()
        before = hole.text[hole.text.rfind("\n", 0, hole.start) + 1 : hole.start]
        self.words = set(_parts(before)) | set(_parts(hole.keyword))
        self.private = hole.receiver is not None and hole.slice(hole.receiver) in ("self", "cls", "this")


def _score(member: Member, place: _Place, observed: Observed, is_subtype: Callable[[str, str], bool]) -> float:
    name = member.name
    score = 1.0 * math.log1p(observed.file[name]) + 0.7 * math.log1p(observed.folder[name])
    score += 0.5 * math.log1p(observed.anywhere[name])
    callable_ = member.kind in _CALLABLE
    known = member.kind != "" or bool(member.type)
    if known and place.called:
        score += 2.0 if callable_ else -2.0
        score += 1.5 * (callable_ and _takes(member.type, place.given_arguments))
    elif known and place.used_as_value and callable_:
        score -= 2.0
    elif known and place.bare:
        score += 0.5 if callable_ else 0.0
    if place.wanted is not None:
        result = parse_type(return_type(member.type) if callable_ else member.type)
        score += 1.5 if result.name != UNKNOWN and consistent(result, place.wanted, is_subtype) else 0.0
    parts = set(_parts(name))
    score += 1.0 * len(parts & place.words) / max(1, len(parts))
    if name.startswith("__"):
        score -= 4.0
    elif name.startswith("_") and not place.private:
        score -= 1.5
    return score


def _takes(signature: str, arguments: bool) -> bool:
    """Can it be called with arguments, or without any?"""
    parameters = [one for one in parameters_in(signature)[1] if one.name not in ("self", "cls")]
    if arguments:
        return bool(parameters)
    return all("=" in one.label or one.label.startswith(("*", "...")) or "?" in one.label for one in parameters)


def _parts(text: str) -> list[str]:
    return [part.lower() for part in _PART.findall(text)]
