"""The drafters: one file and one row each."""

from __future__ import annotations

from collections.abc import Callable

from holefill.model.spec.drafters.automaton import AutomatonDrafter
from holefill.model.spec.drafters.drafter import Drafter
from holefill.model.spec.drafters.recycling import RecyclingDrafter
from holefill.model.spec.drafters.trigram import TrigramDrafter

DRAFTERS: dict[str, Callable[[int], Drafter]] = {
    "automaton": lambda vocabulary: AutomatonDrafter(),
    "recycling": RecyclingDrafter,
    "trigram": TrigramDrafter,
}
"""Name → maker, given the vocabulary's size."""

DEFAULT = ("automaton",)
"""The others find little that it does not, and take longer to ask and to teach than that saves (LOG.md)."""
