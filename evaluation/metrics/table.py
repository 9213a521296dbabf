"""Metric name → function. A suite's TOML names its measures; every value is 0–100, higher is better but for those of
``LOWER_IS_BETTER``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from holefill.evaluation.metrics.edit_similarity import edit_similarity
from holefill.evaluation.metrics.exact_match import exact_match
from holefill.evaluation.metrics.identifiers import id_exact_match, id_f1, named_share
from holefill.evaluation.metrics.members import identifier_sequence_match, next_identifier_match, prefix_match
from holefill.evaluation.metrics.persistence import persistence, prefix_kept
from holefill.evaluation.metrics.rouge import rouge_l


@dataclass(frozen=True, slots=True)
class Gold:
    """What a prediction is measured against."""

    target: str
    language: str
    cross_names: tuple[str, ...] = ()
    """Names of the target that only another file defines."""
    unseen_names: tuple[str, ...] = ()
    """The subset that the file around the hole does not mention."""


Measure = Callable[[str, Gold], float | None]
"""(prediction, gold) → 0–100, or None where the measure does not apply to the case."""


def _names(prediction: str, names: tuple[str, ...], language: str) -> float | None:
    return 100 * named_share(prediction, names, language) if names else None


LOWER_IS_BETTER = frozenset({"invented_names", "member_invented"})
"""Measured where a repository is at hand (``evaluate``)."""

MEASURES: Mapping[str, Measure] = {
    "em": lambda p, gold: 100.0 * exact_match(p, gold.target),
    "es": lambda p, gold: float(edit_similarity(p, gold.target)),
    "id_em": lambda p, gold: 100.0 * id_exact_match(p, gold.target, gold.language),
    "id_f1": lambda p, gold: 100 * id_f1(p, gold.target, gold.language),
    "cross_names": lambda p, gold: _names(p, gold.cross_names, gold.language),
    "unseen_names": lambda p, gold: _names(p, gold.unseen_names, gold.language),
    "rouge_l": lambda p, gold: 100 * rouge_l(p, gold.target),
    "prefix_kept": lambda p, gold: 100 * prefix_kept(p, gold.target),
    "persistence": lambda p, gold: 100 * persistence(p, gold.target),
    "nim": lambda p, gold: 100.0 * next_identifier_match(p, gold.target, gold.language),
    "ism": lambda p, gold: 100 * identifier_sequence_match(p, gold.target, gold.language),
    "pm": lambda p, gold: 100 * prefix_match(p, gold.target, gold.language),
}
