"""Python's own types by what is done with a value: who calls ``seek`` and ``read`` of it holds a file."""

from __future__ import annotations

import datetime
import io
import pathlib
import re
from collections.abc import Iterator, Sequence
from functools import cache

_TYPES = (
    *(str, bytes, list, dict, set, tuple, io.BufferedReader, io.TextIOWrapper, pathlib.Path),
    *(re.Match, re.Pattern, datetime.datetime, datetime.timedelta, complex),
)
_MAX_TYPES = 4
"""What so many types have tells none of them."""


def alike(used: Sequence[str]) -> Iterator[str]:
    """Public members of the types that have all the attributes ``used``; nothing where many have them, or none is."""
    fitting = [names for names in _members() if names.issuperset(used)] if used else []
    if len(fitting) <= _MAX_TYPES:
        for names in fitting:
            yield from sorted(names)


@cache
def _members() -> tuple[frozenset[str], ...]:
    return tuple(frozenset(name for name in dir(one) if not name.startswith("_")) for one in _TYPES)
