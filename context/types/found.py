"""One complaint about a fill, and which known name was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_CUTOFF = 0.6


class Kind(StrEnum):
    NAME = "name"
    IMPORT = "import"
    """A name that exists, but is not imported here."""
    MEMBER = "member"
    ARITY = "arity"
    KEYWORD = "keyword"
    TYPE = "type"
    SYNTAX = "syntax"


@dataclass(frozen=True, slots=True)
class Found:
    """``start`` and ``end`` are bytes of the filled source."""

    kind: Kind
    message: str
    name: str
    start: int
    end: int
    nearest: str = ""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is spelled most alike; empty when none is."""
    # Of two strings' lengths alone follows how alike they can be at most; most names end there.
    size = len(name)
    near = [one for one in known if 2 * min(size, len(one)) >= _CUTOFF * (size + len(one))]
    return next(iter(difflib.get_close_matches(name, sorted(near), 1, _CUTOFF)), "")
