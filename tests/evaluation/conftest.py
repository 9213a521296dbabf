"""A scripted engine and a system around it: what the harness does is the point, not what a model says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from click.testing import Result

from holefill.evaluation.runner import System
from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError
from holefill.model.request import Chunk, FinishReason, GenerateRequest, Timing
from holefill.model.tokenizer import Tokenizer


@dataclass
class ScriptedEngine:
    """Answers by prompt text, character by character; honours cancellation as an engine does."""

    answer: Callable[[str], str]
    finish: FinishReason = FinishReason.LENGTH
    asked: list[GenerateRequest] = field(default_factory=list)
    said: int = 0
    model_name: str = "scripted"

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        self.asked.append(request)
        text = self.answer(request.prompt_text)
        if text == "BROKEN":
            raise EngineError("the script says so")
        for number, char in enumerate(text):
            if cancel.is_set():
                yield Chunk("", finish=FinishReason.CANCELLED, timing=Timing(completion_tokens=number, forwards=number))
                return
            self.said += 1
            yield Chunk(char, (ord(char),), (-0.1,))
        yield Chunk("", finish=self.finish, timing=Timing(completion_tokens=len(text), forwards=len(text)))

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def byte_tokenizer(byte_model: Path) -> Tokenizer:
    return Tokenizer.load(byte_model)


def last(result: Result) -> dict[str, Any]:
    """The line of JSON that a command ends with."""
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout.strip().split("\n")[-1])
    assert isinstance(value, dict)
    return value


Answer = Callable[[str], str]
"""What the engine says to a prompt's text."""
MakeSystem = Callable[[Answer], System]


@pytest.fixture
def system(byte_tokenizer: Tokenizer) -> MakeSystem:
    def make(answer: Answer) -> System:
        return System(ScriptedEngine(answer), byte_tokenizer, "script")

    return make


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small data folder in the official formats."""
    fim = [
        {"name": f"task-{n}", "language": "py", "prompt": f"def f{n}(x):\n    y = {n}", "suffix": "    return z\n",
         "canonical_solution": f"    z = x + y + {n}", "tests": ""}
        for n in range(6)
    ]  # fmt: skip
    source = "def helper(value):\n    return value\n"
    replay = [
        {"id": f"toy/{n}", "repo": "me/toy", "lang": "python", "path": f"app{n}.py", "base_path": "old.py",
         "prefix": "import lib\n\nx = lib.", "target": "helper(1)", "suffix": "\nprint(x)\n", "kind": "line",
         "cross_file": n % 2 == 0, "identifiers_cross": ["helper"] if n % 2 == 0 else []}
        for n in range(4)
    ]  # fmt: skip
    files = [{"path": "lib.py", "content": source}, {"path": "old.py", "content": "x = lib.helper(1)  # the answer\n"}]
    for name, rows in (("humaneval_fim", fim), ("toy_cases", replay), ("toy_files", files)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


STORE = "class Store:\n    def fetch(self, key):\n        return self.rows[key]\n"
USE = """from store import Store


def price_of(store: Store, key: str, quantity: int) -> float:
    row = store.fetch(key)
    total = compute(row.price, quantity)
    if total > 100:
        total = total - discount(total, key)
    return round(total, 2)
"""


GIT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
}  # fmt: skip


class Commit(Protocol):
    def __call__(self, message: str, **files: str) -> None: ...


@pytest.fixture
def commit(tmp_path: Path) -> Commit:
    """Writes modules and commits them into the repository of ``repository``."""

    def run(message: str, **files: str) -> None:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        for command in (["add", "-A"], ["commit", "-q", "-m", message]):
            subprocess.run(["git", "-C", str(tmp_path), *command], check=True, env={**GIT, "HOME": str(tmp_path)})

    return run


@pytest.fixture
def repository(tmp_path: Path, commit: Commit) -> Path:
    """Three commits: a store, its use, and a test of it."""
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path)], check=True)
    commit("start", store=STORE)
    commit("use it", use=USE)
    commit("test it", test_use="from use import price_of\nassert price_of(None, 'a', 1)\n")
    return tmp_path
