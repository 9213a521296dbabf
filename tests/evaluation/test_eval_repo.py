"""``holefill eval repo`` on a repository with history: the same cases twice, a page, kill and resume, broken cases,
and the context policy that it finds for the user."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest
from click.testing import CliRunner, Result

from holefill.context.policy import policy_for, read_policies
from holefill.evaluation import commands, tuning
from holefill.evaluation.cases import Case
from holefill.evaluation.records import read_run
from holefill.evaluation.repository import make_cases
from holefill.evaluation.tuning import CANDIDATES, NOTHING
from tests.evaluation.conftest import Answer, Commit, MakeSystem, last

MODEL = "models/Scripted-1.5B.gguf"


@pytest.fixture
def cases(repository: Path, commit: Commit) -> tuple[Case, ...]:
    """Of six commits, each a module that uses the store in its own words."""
    nouns = ("price", "weight", "volume", "colour", "owner", "origin")
    commit("names", **{noun: f"# {noun}\n" for noun in nouns})
    for number, noun in enumerate(nouns):
        text = f"from store import Store\n\n\ndef {noun}_of(store: Store, key: str):\n    {noun} = store.fetch(key)\n"
        commit(noun, **{noun: text + f"    return {noun} + {number}\n\n\n# {noun}\n"})
    cases = make_cases(repository, "HEAD~6", 6, 0).cases
    assert len(cases) == 6
    return cases


class Invoke(Protocol):
    def __call__(self, *arguments: str, answer: Answer) -> Result: ...


@pytest.fixture
def invoke(system: MakeSystem, monkeypatch: pytest.MonkeyPatch, repository: Path, tmp_path: Path) -> Invoke:
    def run(*arguments: str, answer: Answer) -> Result:
        monkeypatch.setattr(commands, "load_system", lambda *_: system(answer))
        base = ["repo", str(repository), "--since", "HEAD~6", "--cases", "6", "--model", MODEL]
        command = [*base, "--output", str(tmp_path / "out"), "--policy-file", str(tmp_path / "policy.toml"), *arguments]
        result = CliRunner().invoke(commands.evaluate, command)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def is_of(prompt: str, case: Case) -> bool:
    """The last line of each module names it; what stands before the cursor may be annotated."""
    return f"# {case.path.removesuffix('.py')}\n<|fim_middle|>" in prompt


def knowing(cases: tuple[Case, ...], when: str = "") -> Answer:
    """Gives the true answer where ``when`` stands in the prompt, else nonsense."""

    def answer(prompt: str) -> str:
        case = next(case for case in cases if is_of(prompt, case))
        return f"{case.target}\n" if when in prompt else "zzz\nzzz\n"

    return answer


def test_the_same_cases_twice_and_a_page(invoke: Invoke, cases: tuple[Case, ...]) -> None:
    first = last(invoke(answer=knowing(cases)))
    ids = [record.id for record in read_run(Path(str(first["run"]))).records]
    again = last(invoke(answer=knowing(cases)))
    assert ids == [record.id for record in read_run(Path(str(again["run"]))).records] == [case.id for case in cases]
    assert first["metrics"] == again["metrics"]
    assert first["metrics"]["em"] == 100.0
    assert "<svg" in Path(str(first["run"])).with_suffix(".html").read_text()


def test_a_short_history_says_so(invoke: Invoke, cases: tuple[Case, ...]) -> None:
    assert "gives 6 cases" in invoke("--cases", "7", "--only-cases", answer=knowing(cases)).stderr
    assert "gives" not in invoke("--only-cases", answer=knowing(cases)).stderr


def test_a_killed_run_goes_on(invoke: Invoke, cases: tuple[Case, ...]) -> None:
    whole = last(invoke(answer=knowing(cases)))
    file = Path(str(whole["run"]))
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:3]) + lines[3][:30])
    asked: list[str] = []

    def counting(prompt: str) -> str:
        asked.append(prompt)
        return knowing(cases)(prompt)

    resumed = last(invoke("--resume", answer=counting))
    assert len(asked) == len(cases) - 2
    assert (resumed["n"], resumed["metrics"]) == (whole["n"], whole["metrics"])


def test_a_broken_case_is_reported_and_not_fatal(invoke: Invoke, cases: tuple[Case, ...]) -> None:
    def breaking(prompt: str) -> str:
        return "BROKEN" if is_of(prompt, cases[1]) else knowing(cases)(prompt)

    result = invoke(answer=breaking)
    line = last(result)
    assert (line["n"], line["errors"]) == (len(cases) - 1, 1)
    assert "1 cases could not be run" in result.output


def test_the_context_that_pays_becomes_the_users_policy(
    invoke: Invoke, cases: tuple[Case, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "MIN_CASES", len(cases))
    line = last(invoke("--tune-context", answer=knowing(cases, when="def fetch")))
    assert line["providers"]
    winner = policy_for("scripted-1.5b-instruct", read_policies(tmp_path / "policy.toml"))
    assert winner.providers == tuple(line["providers"])
    assert winner.budget_tokens == line["budget_tokens"]
    assert "ES +" in winner.figures
    assert "--tune-context" in winner.evidence
    assert {trial["n"] for trial in line["trials"]} == {len(cases)}


def test_a_few_cases_decide_nothing(invoke: Invoke, cases: tuple[Case, ...]) -> None:
    line = last(invoke("--tune-context", answer=knowing(cases, when="def fetch")))
    assert line["providers"] == []
    assert "fewer than 20 cases decide nothing" in str(line["figures"])


def test_context_that_brings_nothing_is_left_out(invoke: Invoke, cases: tuple[Case, ...], tmp_path: Path) -> None:
    result = invoke("--tune-context", answer=knowing(cases))
    assert last(result)["providers"] == []
    assert policy_for("scripted-14b", read_policies(tmp_path / "policy.toml")).figures == ""  # another model
    row = policy_for("scripted-1.5b", read_policies(tmp_path / "policy.toml"))
    assert (row.providers, row.budget_tokens) == ((), 0)
    assert "no candidate pays" in row.figures


def test_an_interrupted_tuning_writes_no_policy_and_goes_on(
    invoke: Invoke, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    asked: list[str] = []

    def stopping(prompt: str) -> str:
        asked.append(prompt)
        if len(asked) == 9:
            raise KeyboardInterrupt
        return knowing(cases)(prompt)

    cut = last(invoke("--tune-context", answer=stopping))
    assert (cut["partial"], cut["policy_file"]) == (True, None)
    assert not (tmp_path / "policy.toml").exists()
    asked.clear()

    def remembering(prompt: str) -> str:
        asked.append(prompt)
        return knowing(cases)(prompt)

    resumed = last(invoke("--tune-context", "--resume", answer=remembering))
    assert len(asked) == len(cases) * (1 + len(CANDIDATES)) - 8
    assert resumed["partial"] is False
    assert (tmp_path / "policy.toml").exists()


def test_one_broken_answer_does_not_end_the_tuning(invoke: Invoke, cases: tuple[Case, ...]) -> None:
    def breaking(prompt: str) -> str:
        return "BROKEN" if is_of(prompt, cases[0]) else knowing(cases)(prompt)

    line = last(invoke("--tune-context", answer=breaking))
    assert line["errors"] == 1 + len(CANDIDATES)
    assert {trial["n"] for trial in line["trials"]} == {len(cases) - 1}


def test_labels_tell_candidates_apart() -> None:
    labels = [candidate.label for candidate in (NOTHING, *CANDIDATES)]
    assert len(set(labels)) == len(labels)
