"""The scorer reproduces every published per-task result of the CrossCodeEval reference outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from holefill.evaluation.cases import Case, read_rows
from holefill.evaluation.metrics.cross_code_eval import StatementCutter, remove_comments
from holefill.evaluation.metrics.edit_similarity import edit_similarity
from holefill.evaluation.metrics.exact_match import exact_match
from holefill.evaluation.suites import cceval


@dataclass(frozen=True, slots=True)
class Result:
    postprocessed: str
    exactMatch: bool  # noqa: N815 — the published field names
    editSimilarity: float  # noqa: N815


@dataclass(frozen=True, slots=True)
class Row:
    language: str
    task_id: str
    output: str
    results: Mapping[str, Result]


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[Row]:
    return list(read_rows(shared_data / "cceval_granite_reference_outputs.jsonl.gz", Row))


@pytest.fixture(scope="module")
def tasks(shared_data: Path) -> dict[tuple[str, str], Case]:
    tables = shared_data.glob("cceval_*_rg1_openai.jsonl.gz")
    return {(case.language, case.id): case for table in tables for case in cceval.load(table, (), 0).cases}


def test_every_stored_result_comes_out_the_same(rows: list[Row], tasks: dict[tuple[str, str], Case]) -> None:
    checked = 0
    for row in rows:
        target = remove_comments(tasks[row.language, row.task_id].target)
        for name, stored in row.results.items():
            prediction = remove_comments(stored.postprocessed)
            assert exact_match(prediction, target) == stored.exactMatch, (row.task_id, name)
            assert edit_similarity(prediction, target) == stored.editSimilarity, (row.task_id, name)
            checked += 1
    assert checked == 624 * 4


def test_the_statement_cut_reproduces_the_official_post_processing(
    rows: list[Row], tasks: dict[tuple[str, str], Case]
) -> None:
    cutter = StatementCutter()
    different = []
    for row in rows:
        case = tasks[row.language, row.task_id]
        cut = remove_comments(cutter.cut(case.prefix, row.output, row.language))
        if cut != remove_comments(row.results["truncate_expression"].postprocessed):
            different.append((row.language, row.task_id))
    assert different == []
