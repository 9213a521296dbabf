"""Which executable of TypeScript 7 is asked; none that came with the workspace where that is not wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.types.registry import HolesRegistry
from holefill.context.types.specs import ON_PATH, typescript_spec


def executable(file: Path, begin: bytes = b"\x7fELF") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(begin)
    file.chmod(0o755)
    return file


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    executable(tmp_path / "project/node_modules/@typescript/typescript-linux-x64/lib/tsc")
    executable(tmp_path / "bin/tsc")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "project"


def asked(root: Path, setting: str = "") -> str | None:
    spec = typescript_spec(str(root), setting)
    return None if spec is None else spec.command[0]


def test_the_workspace_s_own_comes_first_then_the_one_on_path(workspace: Path) -> None:
    assert asked(workspace) == str(workspace / "node_modules/@typescript/typescript-linux-x64/lib/tsc")
    assert asked(workspace / "packages/inner") == asked(workspace)
    assert asked(workspace.parent / "other") == str(workspace.parent / "bin/tsc")


def test_nothing_of_the_workspace_is_run_where_only_path_counts(workspace: Path) -> None:
    assert asked(workspace, ON_PATH) == str(workspace.parent / "bin/tsc")
    (workspace.parent / "bin/tsc").unlink()
    assert asked(workspace, ON_PATH) is None


def test_the_one_that_the_user_chose_or_none(workspace: Path) -> None:
    chosen = executable(workspace.parent / "mine/tsc")
    assert asked(workspace, str(chosen)) == str(chosen)
    assert asked(workspace, str(workspace / "nowhere")) is None
    assert asked(workspace, str(executable(workspace.parent / "mine/script", b"#!/usr/bin/env node"))) is None


def test_another_choice_ends_what_runs_and_counts_from_then_on(tmp_path: Path) -> None:
    index, registry = WorkspaceIndex(tmp_path), HolesRegistry()
    before = registry.of(index)
    assert not registry.use_typescript("")
    assert registry.of(index) is before
    assert registry.use_typescript(ON_PATH)
    assert before.closed
    assert registry.of(index) is not before
    registry.close()
