"""What a request says about the place of its answer; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constraint:
    """The answer, with what it repeats of a half-typed word, stands between ``prefix`` and ``suffix``, which are the
    whole rest of the file."""

    language: str
    prefix: str
    suffix: str
    names: tuple[str, ...] = ()
    """The answer begins with one of these (none: anything), each up to the end of a name."""
    unfinished: bool = False
    """The file is in the middle of another edit, so that no answer can close it: only the names hold."""
