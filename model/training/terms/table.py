"""The loss terms by name. Each is off unless it is asked for; what each one brought is in LOG.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from holefill.model.training.examples import TrainingError
from holefill.model.training.terms.contrastive import Contrastive
from holefill.model.training.terms.renaming import Renaming
from holefill.model.training.terms.statement import Statement
from holefill.model.training.terms.term import MakeTerm
from holefill.model.training.terms.token_type import TokenType
from holefill.model.training.terms.two_pass import TwoPass
from holefill.model.training.terms.type_adapter import TypeAdapter

TERMS: Mapping[str, MakeTerm] = MappingProxyType(
    {
        "token_type": TokenType,
        "two_pass": TwoPass,
        "statement": Statement,
        "type_adapter": TypeAdapter,
        "renaming": Renaming,
        "contrastive": Contrastive,
    }
)


def read_terms(spellings: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """Of ``NAME=WEIGHT``, sorted by name. Raises TrainingError."""
    found: dict[str, float] = {}
    for spelling in spellings:
        name, _, weight = spelling.partition("=")
        try:
            found[name] = float(weight)
        except ValueError:
            raise TrainingError(f"--term {spelling}: write NAME=WEIGHT, such as token_type=0.1") from None
        if name not in TERMS:
            raise TrainingError(f"there is no loss term {name}: take one of {', '.join(TERMS)}")
        if not (math.isfinite(found[name]) and found[name] > 0):
            raise TrainingError(f"--term {spelling}: the weight must be above 0; leave the term out to turn it off")
    return tuple(sorted(found.items()))
