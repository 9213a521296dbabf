"""Cases from git history: the same twice, true to the commits, nothing from the future."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holefill.evaluation.cases import DataError, read_cases, write_cases
from holefill.evaluation.git import GitError
from holefill.evaluation.repository import KINDS, make_cases

STORE = "class Store:\n    def fetch(self, key):\n        return self.rows[key]\n"
USE = """from store import Store


def price_of(store: Store, key: str, quantity: int) -> float:
    row = store.fetch(key)
    total = compute(row.price, quantity)
    if total > 100:
        total = total - discount(total, key)
    return round(total, 2)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits: a store, its use, and a test of it."""

    def commit(message: str, **files: str) -> None:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        for command in (["add", "-A"], ["commit", "-q", "-m", message]):
            subprocess.run(["git", "-C", str(tmp_path), *command], check=True, env={**GIT, "HOME": str(tmp_path)})

    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path)], check=True)
    commit("start", store=STORE)
    commit("use it", use=USE)
    commit("test it", test_use="from use import price_of\nassert price_of(None, 'a', 1)\n")
    return tmp_path


GIT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
}  # fmt: skip


def test_the_same_seed_gives_the_same_cases(repository: Path) -> None:
    first = make_cases(repository, "HEAD~2", 8, seed=3)
    assert first == make_cases(repository, "HEAD~2", 8, seed=3)
    assert first.cases


@pytest.mark.parametrize("seed", range(6))
def test_cases_are_true_to_the_commit(repository: Path, seed: int) -> None:
    for case in make_cases(repository, "HEAD~2", 8, seed).cases:
        assert case.path == "use.py"  # neither the test nor the file before the range
        assert case.prefix + case.target + case.suffix == USE
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
