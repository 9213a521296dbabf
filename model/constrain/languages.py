"""Language → grammar and its automaton; made when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType

from holefill.model.constrain.c_family import FACTS, c_family
from holefill.model.constrain.grammar import Grammar
from holefill.model.constrain.lexing import Automaton
from holefill.model.constrain.python import python
from holefill.model.constrain.script import script

GRAMMAR_VERSION = 2
"""Raise when a grammar changes what it accepts: tables on disk are made anew."""

_GRAMMARS: Mapping[str, Callable[[], Grammar]] = MappingProxyType(
    {
        "python": python,
        "javascript": lambda: script("javascript", jsx=True),
        "typescript": lambda: script("typescript", jsx=False),
        "tsx": lambda: script("tsx", jsx=True),
        **{facts.name: partial(c_family, facts) for facts in FACTS},
    }
)
LANGUAGES = tuple(_GRAMMARS)
FRAGMENTS = frozenset({"c", "cpp"})
"""Languages in which a file may be half a function that another one includes."""


@cache
def automaton(language: str) -> Automaton:
    """Raises KeyError for a language without a grammar."""
    return Automaton(_GRAMMARS[language]())
