"""The drafters: one file and one row each."""

from __future__ import annotations

from collections.abc import Callable

from holefill.model.spec.drafters.automaton import AutomatonDrafter
from holefill.model.spec.drafters.drafter import Drafter
from holefill.model.spec.drafters.forced import ForcedDrafter
from holefill.model.spec.drafters.recycling import RecyclingDrafter
from holefill.model.spec.drafters.trigram import TrigramDrafter

DRAFTERS: dict[str, Callable[[int], Drafter]] = {
    "automaton": lambda vocabulary: AutomatonDrafter(),
    "recycling": RecyclingDrafter,
    "trigram": TrigramDrafter,
    "forced": lambda vocabulary: ForcedDrafter(),
}
"""Name → maker, given the vocabulary's size. The fifth, ``draft_model``, needs a model and is given ready-made."""

SEARCHING = ("automaton", "recycling", "trigram")
"""Those that guess anywhere; ``forced`` speaks only under a guide."""
DEFAULT = ("automaton", "forced")
"""The others find little that the automaton does not, and take longer to ask and teach than that saves (LOG.md)."""
