"""Cut name (in a suite's TOML) → the official rule that cuts a prediction before it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from holefill.evaluation.cases import Case
from holefill.evaluation.metrics.brackets import unmatched_closer
from holefill.evaluation.metrics.cross_code_eval import StatementCutter, remove_comments
from holefill.evaluation.metrics.first_line import first_line, first_line_complete
from holefill.evaluation.metrics.replay_cut import cut_to_hole, hole_end


class Cut(Protocol):
    def cut(self, case: Case, text: str) -> str:
        """The part of a prediction that is measured."""

    def complete(self, case: Case, text: str) -> bool:
        """Whether more text could no longer change the cut, so that decoding may end."""

    def target(self, case: Case) -> str:
        """The gold text, treated as the rule treats a prediction."""


class FirstLineCut:
    def cut(self, case: Case, text: str) -> str:
        return first_line(text)

    def complete(self, case: Case, text: str) -> bool:
        return first_line_complete(text)

    def target(self, case: Case) -> str:
        return case.target.strip()


class CrossCodeEvalCut:
    def __init__(self) -> None:
        self._cutter = StatementCutter()

    def cut(self, case: Case, text: str) -> str:
        return remove_comments(self._cutter.cut(case.prefix, text, case.language))

    def complete(self, case: Case, text: str) -> bool:
        return self._cutter.complete(case.prefix, text, case.language)

    def target(self, case: Case) -> str:
        return remove_comments(case.target)


class HoleCut:
    def cut(self, case: Case, text: str) -> str:
        return cut_to_hole(text, case.kind, case.target, case.language)

    def complete(self, case: Case, text: str) -> bool:
        return hole_end(text, case.kind, case.target, case.language) is not None

    def target(self, case: Case) -> str:
        return case.target


class MethodCut:
    """Through the brace that closes the method."""

    def cut(self, case: Case, text: str) -> str:
        end = unmatched_closer(text, case.language)
        return text if end is None else text[: end + 1]

    def complete(self, case: Case, text: str) -> bool:
        return unmatched_closer(text, case.language) is not None

    def target(self, case: Case) -> str:
        return case.target


class StringCut:
    """Through the quote that closes the literal the cursor is in."""

    def cut(self, case: Case, text: str) -> str:
        end = text.find('"')
        return text if end < 0 else text[: end + 1]

    def complete(self, case: Case, text: str) -> bool:
        return '"' in text

    def target(self, case: Case) -> str:
        return case.target


class NoCut:
    """What the product shows is what is measured."""

    def cut(self, case: Case, text: str) -> str:
        return text

    def complete(self, case: Case, text: str) -> bool:
        return True

    def target(self, case: Case) -> str:
        return case.target


CUTS: Mapping[str, Callable[[], Cut]] = {
    "first-line": FirstLineCut,
    "cceval": CrossCodeEvalCut,
    "hole": HoleCut,
    "method": MethodCut,
    "string": StringCut,
    "none": NoCut,
}
