"""Loader name (in a suite's TOML) → function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from holefill.evaluation.cases import CaseSet
from holefill.evaluation.suites import cceval, dotprompts, humaneval, member_holes, needles, replay

Loader = Callable[[Path, tuple[str, ...], int], CaseSet]
"""(data folder or file, names to select: repositories, languages or kinds, seed) → cases in a fixed order."""

LOADERS: Mapping[str, Loader] = {
    "humaneval-fim": humaneval.load_fim,
    "humaneval-infilling": humaneval.load_infilling,
    "cceval": cceval.load,
    "cceval-repo": cceval.load_repositories,
    "replay": replay.load,
    "typed-holes": replay.load_typed_holes,
    "dotprompts": dotprompts.load,
    "member-holes": member_holes.load,
    "needles": needles.load,
    "cases": replay.load_cases,
}
