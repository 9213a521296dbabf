"""Cases from git history: the same twice, true to the commits, nothing from the future."""

from __future__ import annotations

from pathlib import Path

import pytest

from holefill.evaluation.cases import DataError, read_cases, write_cases
from holefill.evaluation.git import GitError
from holefill.evaluation.repository import KINDS, make_cases


def test_the_same_seed_gives_the_same_cases(repository: Path) -> None:
    first = make_cases(repository, "HEAD~2", 8, seed=3)
    assert first == make_cases(repository, "HEAD~2", 8, seed=3)
    assert first.cases


@pytest.mark.parametrize("seed", range(6))
def test_cases_are_true_to_the_commit(repository: Path, seed: int) -> None:
    use = (repository / "use.py").read_text()
    for case in make_cases(repository, "HEAD~2", 8, seed).cases:
        assert case.path == "use.py"  # neither the test nor the file before the range
        assert case.prefix + case.target + case.suffix == use
        assert case.kind in KINDS
        assert 4 <= len(case.target) <= 400
        assert not case.target.startswith("from store")
        assert case.cross_file is ("fetch" in case.target or "Store" in case.target)


def test_the_workspace_is_the_state_before_the_commit(repository: Path) -> None:
    case_set = make_cases(repository, "HEAD~2", 4, 0)
    assert {path for w in case_set.workspaces.values() for path, _ in w.files()} == {"store.py"}


def test_saved_cases_hold_the_same(repository: Path, tmp_path: Path) -> None:
    case_set = make_cases(repository, "HEAD~2", 4, 0)
    write_cases(tmp_path / "cases.jsonl", case_set)
    again = read_cases(tmp_path / "cases.jsonl")
    assert again.cases == case_set.cases
    assert again.workspaces == case_set.workspaces


def test_mistakes_say_what_to_do(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(GitError, match="rev-list failed"):
        make_cases(repository, "no-such-revision", 4, 0)
    with pytest.raises(DataError, match="older --since"):
        make_cases(repository, "HEAD", 4, 0)
    with pytest.raises(GitError, match="not a git repository"):
        make_cases(tmp_path_factory.mktemp("bare"), "HEAD", 4, 0)
