"""Workspaces with a running checker; one process for all cases of a language."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.types.holes import HoleAt, hole_at
from holefill.context.types.lsp_oracle import LspOracle
from holefill.context.types.specs import typescript_spec
from holefill.context.types.typed_holes import TypedHole, TypedHoles

PATIENT_MS = 20_000.0
NODE_MODULES = Path(__file__).parent / "node_modules"


def cursor_at(root: Path, name: str, marked: str, mark: str = "▮") -> Cursor:
    offset = marked.index(mark)
    language = {"py": "python", "ts": "typescript", "js": "javascript", "go": "go"}[name.rpartition(".")[2]]
    return Cursor(str(root / name), marked.replace(mark, ""), CharOffset(offset), language, str(root))


def hole_in(cursor: Cursor) -> HoleAt:
    """Where the test knows that there is one."""
    found = hole_at(cursor)
    assert found is not None
    return found


class Workspace:
    """Asks about text with a mark where the cursor is."""

    def __init__(self, root: Path, suffix: str) -> None:
        self.root = root
        self.suffix = suffix
        index = WorkspaceIndex(root)
        index.refresh()
        self.holes = TypedHoles(index)

    def wait(self, language: str) -> LspOracle:
        oracle = self.holes.layer(language).oracle
        assert isinstance(oracle, LspOracle)
        until = time.monotonic() + 20
        while oracle.reason == "starting" and time.monotonic() < until:
            time.sleep(0.02)
        assert oracle.reason == ""
        return oracle

    def ask(self, marked: str) -> TypedHole:
        return self.holes.query(cursor_at(self.root, f"case.{self.suffix}", marked), Deadline.after_ms(PATIENT_MS))


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("python")
    for file in (Path(__file__).parent / "workspaces" / "python").iterdir():
        shutil.copy(file, root)
    workspace = Workspace(root, "py")
    workspace.wait("python")
    yield workspace
    workspace.holes.close()


@pytest.fixture(scope="session")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("typescript")
    for file in (Path(__file__).parent / "workspaces" / "typescript").iterdir():
        shutil.copy(file, root)
    if NODE_MODULES.is_dir():
        (root / "node_modules").symlink_to(NODE_MODULES, target_is_directory=True)
    if typescript_spec(str(root)) is None:
        what = "TypeScript 7 is not here: run `npm install --prefix tests/context/types`"
        if os.environ.get("CI") == "true":
            pytest.fail(what)
        pytest.skip(what)
    workspace = Workspace(root, "ts")
    workspace.wait("typescript")
    yield workspace
    workspace.holes.close()
