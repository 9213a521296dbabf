"""What `holefill eval check` counts: true answers flagged, and which of a model's answers, from saved runs."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from holefill.evaluation.candidate_check import GOLD, RIGHT, WRONG, Judged, answers_of, check, judged, summary
from holefill.evaluation.cases import Case, CaseSet, Workspace
from holefill.evaluation.records import Record, RunHeader, RunWriter
from holefill.evaluation.suites.loaders import LOADERS
from holefill.evaluation.workspaces import Workspaces

SHOP = "class Price:\n    cents: int\n\n    def __init__(self, cents: int) -> None:\n        self.cents = cents\n"
PREFIX = "from shop import Price\n\n\ndef total(price: Price) -> int:\n    return "
CASE = Case("shop/1", "python", "main.py", PREFIX, "price.cents", "\n", repo="shop", workspace="shop")
OTHER = Case("shop/2", "go", "main.go", "package a\n", "var x = 1", "\n", repo="shop", workspace="shop")


def record(shown: str, em: float, case: str = CASE.id, context: str = "off") -> Record:
    return Record(case, context, "python", "line", scores={"em": em}, shown=shown)


def case_set() -> CaseSet:
    return CaseSet((CASE, OTHER), {"shop": Workspace("shop", texts=(("shop.py", SHOP),))})


def share(told: dict[str, object], name: str) -> object:
    """Without its interval."""
    found = told[name]
    assert isinstance(found, list)
    return found[0]


def test_answers_are_told_apart_by_text_and_counted_once() -> None:
    records = [record("a", 100.0), record("a", 0.0, context="on"), record("b", 0.0), record(" ", 0.0), record("c", 0.0)]
    assert answers_of(records) == {CASE.id: (("a", True), ("b", False), ("c", False))}
    assert answers_of([Record(CASE.id, "off", "python", "line", scores={"em": 0.0})]) == {}


def test_an_exact_answer_that_goes_on_is_left_out() -> None:
    assert answers_of([replace(record("a + b", 100.0), target="a"), replace(record("a ", 100.0), target="a")]) == {
        CASE.id: (("a ", True),)
    }


def test_the_floor_judges_true_answers_and_a_models() -> None:
    cases = case_set()
    answers = {CASE.id: (("price.cents + 0", True), ("price.cent", False), ("price.cents * 2", False))}
    with closing(Workspaces(cases.workspaces)) as workspaces:
        [found] = judged([CASE], answers, workspaces, checkers=False)
    assert [(one.sort, bool(one.problems)) for one in found] == [
        (GOLD, False),
        (RIGHT, False),
        (WRONG, True),
        (WRONG, False),
    ]
    told = summary(found)
    assert told["gold_flagged"] == [0.0, 0.0, 0.0]
    assert told["precision"] == [100.0, 100.0, 100.0]
    assert told["flagged"] == {GOLD: 0, RIGHT: 0, WRONG: 1}
    assert share(told, "wrong_caught") == 50.0


def test_a_flagged_exact_answer_counts_against_the_precision() -> None:
    found = [Judged("a", "python", sort, "x", ("name: no",), False, 1.0) for sort in (RIGHT, WRONG, WRONG, WRONG, GOLD)]
    told = summary(found)
    assert share(told, "precision") == 75.0
    assert share(told, "gold_flagged") == 100.0
    assert summary([])["precision"] is None


def run_file(folder: Path, shown: str) -> Path:
    header = RunHeader("replay", 1, "m", "off", 0, None, "cpu", "c")
    path = folder / "run.jsonl"
    with RunWriter(path, header, resume=False) as writer:
        writer.add(record(shown, 0.0))
    return path


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOADERS, "replay", lambda data, repos, seed: case_set())


def test_the_command_reads_saved_runs(tmp_path: Path, loaded: None) -> None:
    run = run_file(tmp_path, "price.cent")
    done = CliRunner().invoke(check, [str(run), "--data", str(tmp_path), "--no-checker", "--flagged"])
    assert done.exit_code == 0, done.output
    assert "`Price` has no member `cent`" in done.output
    assert '"wrong_caught": [100.0' in done.output.splitlines()[-1]


def test_a_run_without_texts_is_refused(tmp_path: Path, loaded: None) -> None:
    done = CliRunner().invoke(check, [str(run_file(tmp_path, "")), "--data", str(tmp_path), "--no-checker"])
    assert done.exit_code != 0
    assert "have no text of answers" in done.output
