"""Retrieval scored on the spans of what was in the prompt, against the definitions the answer needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import ByteOffset, Item, Span
from holefill.evaluation.cases import Case
from holefill.evaluation.retrieved import retrieval_scores

LIB = "def helper(value):\n    return value\n\n\ndef other(a, b):\n    return a\n"
"""Tokens: helper 8 (def helper ( value ) : return value), other 10."""
CASE = Case("c", "python", "app.py", "import lib\nx = lib.", "helper(1)", "\n", cross_names=("helper",))


@pytest.fixture
def index(tmp_path: Path) -> WorkspaceIndex:
    (tmp_path / "lib.py").write_text(LIB)
    (tmp_path / "app.py").write_text(CASE.prefix + CASE.suffix)
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    return index


def item(start: int, end: int, path: str = "lib.py") -> Item:
    return Item("text", "imports", (Span(path, ByteOffset(start), ByteOffset(end)),))


HELPER = (0, LIB.index("\n\n\n"))


def test_the_needed_definition_alone_is_perfect(index: WorkspaceIndex) -> None:
    assert retrieval_scores(CASE, index, [item(*HELPER)]) == {
        "recall": 100.0, "precision": 100.0, "iou": 100.0, "precision_omega": 100.0
    }  # fmt: skip


def test_the_whole_file_costs_precision(index: WorkspaceIndex) -> None:
    scores = retrieval_scores(CASE, index, [item(0, len(LIB)), item(*HELPER)])
    assert scores["recall"] == 100.0
    assert scores["precision"] == scores["iou"] == pytest.approx(100 * 8 / 18)
    assert scores["precision_omega"] == 100.0  # definitions cut the file exactly at the need


def test_nothing_found_scores_nothing(index: WorkspaceIndex) -> None:
    scores = retrieval_scores(CASE, index, [item(0, 5, "app.py")])
    assert (scores["recall"], scores["precision"], scores["iou"]) == (0.0, 0.0, 0.0)
    assert scores["precision_omega"] == 100.0


def test_names_come_from_the_answer_where_the_benchmark_lists_none(index: WorkspaceIndex) -> None:
    bare = Case("c", "python", "app.py", CASE.prefix, "other(1, 2)", "\n")
    assert retrieval_scores(bare, index, [item(*HELPER)])["recall"] == 0.0
    assert retrieval_scores(bare, index, [item(LIB.index("def other"), len(LIB))])["recall"] == 100.0


def test_a_case_that_needs_no_other_file_is_not_scored(index: WorkspaceIndex) -> None:
    assert retrieval_scores(Case("c", "python", "app.py", "x = ", "len(y)", "\n"), index, [item(*HELPER)]) == {}
