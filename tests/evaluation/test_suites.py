"""Suites run through the real completer: scores, broken cases, resuming, the last line, workspaces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from click.testing import CliRunner, Result

from holefill.evaluation import commands
from holefill.evaluation.cases import Case, DataError, half_typed, read_cases, sample, write_cases
from holefill.evaluation.cuts import CUTS
from holefill.evaluation.evaluate import evaluate, tasks_of
from holefill.evaluation.metrics.table import MEASURES
from holefill.evaluation.records import Record, read_run
from holefill.evaluation.suites.loaders import LOADERS
from holefill.evaluation.suites.registry import load_suites
from holefill.evaluation.workspaces import Workspaces
from tests.evaluation.conftest import Answer, MakeSystem, last

SUITES = load_suites()


def right_answer(prompt: str) -> str:
    number = prompt.split("def f")[1][0]
    return f"\n    z = x + y + {number}\n    return z\n"


class Invoke(Protocol):
    def __call__(self, *arguments: str, answer: Answer = right_answer) -> Result: ...


@pytest.fixture
def invoke(system: MakeSystem, monkeypatch: pytest.MonkeyPatch, data: Path) -> Invoke:
    """``holefill eval`` on a scripted engine."""

    def run(*arguments: str, answer: Answer = right_answer) -> Result:
        monkeypatch.setattr(commands, "load_system", lambda *_: system(answer))
        where = [] if arguments[0] in ("compare", "show", "report") else ["--output", str(data / "out")]
        result = CliRunner().invoke(commands.evaluate, [*arguments, *where])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_every_suite_names_what_exists() -> None:
    for suite in SUITES.values():
        assert suite.loader in LOADERS
        assert suite.cut in CUTS
        assert set(suite.measures) <= set(MEASURES)


def test_the_last_line_keeps_its_contract(invoke: Invoke, data: Path) -> None:
    line = last(invoke("humaneval-fim", "--data", str(data)))
    assert {"suite", "n", "metrics", "by", "model", "context", "device", "commit", "seconds"} <= line.keys()
    assert (line["suite"], line["n"], line["model"], line["context"]) == ("humaneval-fim", 6, "scripted", "off")
    assert line["metrics"] == pytest.approx(
        {"em": 100.0, "es": 100.0, "id_f1": 100.0, "em_untruncated": 100.0, "natural_stop": 0.0}
    )
    assert line["by"]["kind"]["line"]["n"] == 6
    assert line["by"]["lang"]["python"]["em"] == 100.0


def test_json_prints_nothing_else(invoke: Invoke, data: Path) -> None:
    result = invoke("humaneval-fim", "--data", str(data / "humaneval_fim.jsonl"), "--limit", "2", "--json")
    assert len(result.stdout.strip().split("\n")) == 1
    assert last(result)["n"] == 2


def test_a_wrong_answer_scores_less(invoke: Invoke, data: Path) -> None:
    def mixed(prompt: str) -> str:
        return "\n    nothing\n\n" if "def f0" in prompt else right_answer(prompt)

    metrics = last(invoke("humaneval-fim", "--data", str(data), answer=mixed))["metrics"]
    assert metrics["em"] == pytest.approx(100 * 5 / 6, abs=0.01)


def test_a_broken_case_is_reported_and_not_fatal(invoke: Invoke, data: Path) -> None:
    result = invoke(
        "humaneval-fim", "--data", str(data), answer=lambda p: "BROKEN" if "def f3" in p else right_answer(p)
    )
    line = last(result)
    assert (line["n"], line["errors"]) == (5, 1)
    assert "1 cases could not be run" in result.output
    broken = [record for record in read_run(Path(str(line["run"]))).records if record.error]
    assert [record.error for record in broken] == ["BrokenCaseError: the script says so"]


def test_a_killed_run_goes_on_and_runs_nothing_twice(invoke: Invoke, data: Path) -> None:
    whole = last(invoke("humaneval-fim", "--data", str(data)))
    file = Path(str(whole["run"]))
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:4]) + lines[4][:20])  # killed in the middle of a line
    asked: list[str] = []

    def counting(prompt: str) -> str:
        asked.append(prompt)
        return right_answer(prompt)

    resumed = last(invoke("humaneval-fim", "--data", str(data), "--resume", answer=counting))
    assert len(asked) == 3
    assert (resumed["n"], resumed["metrics"]) == (whole["n"], whole["metrics"])


def test_a_run_of_other_settings_is_not_resumed(invoke: Invoke, data: Path) -> None:
    file = Path(str(last(invoke("humaneval-fim", "--data", str(data)))["run"]))
    file.write_text(file.read_text().replace('"model": "scripted"', '"model": "another"'))
    refused = invoke("humaneval-fim", "--data", str(data), "--resume")
    assert refused.exit_code == 1
    assert "run of other settings" in refused.output


def test_interrupted_means_partial_and_readable(invoke: Invoke, data: Path) -> None:
    def stop(prompt: str) -> str:
        if "def f2" in prompt:
            raise KeyboardInterrupt
        return right_answer(prompt)

    line = last(invoke("humaneval-fim", "--data", str(data), answer=stop))
    assert (line["n"], line["partial"]) == (2, True)
    assert len(read_run(Path(str(line["run"]))).records) == 2


def test_context_arms_are_paired(invoke: Invoke, data: Path) -> None:
    def informed(prompt: str) -> str:
        return "helper(1)\nmore" if "def helper" in prompt else "other(1)\nmore"

    result = invoke("replay", "--data", str(data), "--repos", "toy", "--context", "both", answer=informed)
    line = last(result)
    assert line["arms"]["off"]["em"] == 0
    assert line["arms"]["on"]["em"] == 100
    assert line["paired"]["em"]["interval"] == [100.0, 100.0]
    assert line["paired"]["em"]["gained"] == 4
    assert line["by"]["cross_file"]["true"]["cross_names"] == 100
    assert "better" in result.output


def test_the_dropped_file_is_nowhere(system: MakeSystem, data: Path) -> None:
    case_set = LOADERS["replay"](data, ("toy",), 0)
    workspaces = Workspaces(case_set.workspaces)
    try:
        with workspaces.around(case_set.cases[0]) as index:
            assert index is not None
            assert index.record("old.py") is None
            assert not (index.root / "old.py").exists()
            assert (index.root / "app0.py").read_text() == "import lib\n\nx = lib.\nprint(x)\n"
            assert index.find("helper")
        assert index.record("app0.py") is None
        assert (index.root / "old.py").exists()
        (record,) = evaluate(
            SUITES["replay"], system(lambda _: "helper(1)"), workspaces, tasks_of(case_set.cases[:1], ["on"])
        )
        assert not any("the answer" in item.text for item in record.items)
    finally:
        workspaces.close()


def test_missing_and_damaged_data_say_what_to_do(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    assert "has toy" in invoke("replay", "--data", str(data), "--repos", "nope").output
    assert "--data" in invoke("dotprompts", "--data", str(data)).output
    bad = tmp_path / "humaneval_fim.jsonl"
    bad.write_text('{"name": "x"}\n')
    output = invoke("humaneval-fim", "--data", str(bad)).output
    assert "line 1" in output
    assert "Traceback" not in output


def test_compare_and_show_and_report(invoke: Invoke, data: Path) -> None:
    a = Path(str(last(invoke("humaneval-fim", "--data", str(data), answer=lambda _: "\n  no\n\n"))["run"]))
    worse = a.rename(data / "a.jsonl")
    better = Path(str(last(invoke("humaneval-fim", "--data", str(data)))["run"]))
    compared = last(invoke("compare", str(worse), str(better)))
    assert compared["paired"]["em"]["difference"] == 100
    shown = invoke("show", "task-3", "--run", str(better))
    assert "z = x + y + 3" in shown.output
    assert "y = 3<|fim_suffix|>" in shown.output  # the prompt, as the engine got it
    assert compared["same_prompts"] == {"n": 6, "same": 6}
    page = data / "report.html"
    assert invoke("report", str(worse), str(better), "-o", str(page)).exit_code == 0
    text = page.read_text()
    assert "<svg" in text
    assert "http" not in text.replace("http://www.w3.org", "")


def test_arms_of_one_run_are_compared_by_name(invoke: Invoke, data: Path) -> None:
    def informed(prompt: str) -> str:
        return "helper(1)\nmore" if "def helper" in prompt else "other(1)\nmore"

    asked = ("replay", "--data", str(data), "--repos", "toy", "--context")
    run = str(last(invoke(*asked, "off,imports,on", answer=informed))["run"])
    alone = last(invoke("compare", run))
    assert list(alone["paired_with"]) == ["imports", "on"]
    assert (alone["a"], alone["b"]) == (f"{run}@off", f"{run}@imports")
    named = last(invoke("compare", f"{run}@on", f"{run}@off"))
    assert (named["a"], named["b"]) == (f"{run}@on", f"{run}@off")
    assert named["paired"]["em"]["difference"] == -100
    assert "paired_with" not in named

    other = str(last(invoke(*asked, "off", answer=informed))["run"])
    assert last(invoke("compare", other, f"{run}@on"))["n"] == 4
    refused = invoke("compare", other, run)
    assert refused.exit_code != 0
    assert f"say which, as {run}@off or {run}@imports or {run}@on" in refused.output
    assert "no arm 'bm25'" in invoke("compare", f"{run}@bm25", other).output
    assert "is one arm" in invoke("compare", other).output
    assert "is no file" in invoke("compare", str(data / "nothing.jsonl"), other).output


def test_a_half_typed_word_moves_the_hole_into_it() -> None:
    case = Case("1", "python", "a.py", "total = ", "self.amount(rate)\n", "", cross_names=("self", "amount"))
    half = half_typed(case, 2)
    assert half is not None
    assert (half.prefix, half.target) == ("total = se", "lf.amount(rate)\n")
    assert half.prefix + half.target == case.prefix + case.target
    assert half.cross_names == ("amount",)  # the other one is not asked for any more
    assert half_typed(case, 4) is None
    whole = half_typed(case, 0)
    assert whole is not None
    assert whole.target == ".amount(rate)\n"
    assert half_typed(replace(case, target="self\n"), 0) is None
    assert half_typed(replace(case, target="(1)"), 1) is None


def test_samples_are_balanced_and_seeded(shared_data: Path) -> None:
    cases = LOADERS["humaneval-fim"](shared_data, (), 0).cases
    drawn = sample(cases, 30, 7)
    assert drawn == sample(cases, 30, 7)
    assert drawn != sample(cases, 30, 8)
    assert {language: sum(c.language == language for c in drawn) for language in ("python", "java", "javascript")} == {
        "python": 10, "java": 10, "javascript": 10
    }  # fmt: skip


def test_every_shared_set_loads(shared_data: Path) -> None:
    counts = {
        name: len(LOADERS[suite.loader](shared_data, (), 0).cases)
        for name, suite in SUITES.items()
        if suite.loader != "cases"
    }
    assert counts == {
        "humaneval-fim": 600, "humaneval-infilling": 232, "cceval": 102, "cceval-repo": 24, "replay": 540,
        "dotprompts": 85, "typed-holes": 200, "needles": 160, "member-holes": 421,
    }  # fmt: skip
    for case in LOADERS["replay"](shared_data, (), 0).cases:
        assert CUTS["hole"]().cut(case, case.target + "\n") in (case.target, case.target + "\n"), case.id


def test_cases_survive_the_disk(data: Path) -> None:
    case_set = LOADERS["replay"](data, ("toy",), 0)
    write_cases(data / "saved.jsonl", case_set)
    again = read_cases(data / "saved.jsonl")
    assert again.cases == case_set.cases
    assert again.workspaces["toy"].files() == case_set.workspaces["toy"].files()


def test_a_file_that_is_no_run_is_refused(data: Path) -> None:
    with pytest.raises(DataError, match="not a saved run"):
        read_run(data / "toy_files.jsonl")


def test_records_default_to_nothing() -> None:
    assert Record("a", "off", "python", "line").scores == {}
