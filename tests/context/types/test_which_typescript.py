"""Which executable of TypeScript 7 is asked; none that came with the workspace where that is not wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.types.registry import HolesRegistry
from holefill.context.types.specs import ON_PATH, typescript_spec

SCRIPT = b"#!/usr/bin/env node"


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
    assert asked(workspace, str(executable(workspace.parent / "mine/script", SCRIPT))) is None


@pytest.mark.parametrize("platform", ["typescript/node_modules", "."])
def test_a_script_that_npm_installed_leads_to_its_program(workspace: Path, platform: str) -> None:
    """``npm install --global`` nests the platform's part, a project has it beside; both call a script ``tsc``."""
    modules = workspace.parent / "global/lib/node_modules"
    program = executable(modules / platform / "@typescript/typescript-linux-x64/lib/tsc")
    script = executable(modules / "typescript/bin/tsc", SCRIPT)
    on_path = workspace.parent / "bin/tsc"
    on_path.unlink()
    on_path.symlink_to(script)
    assert asked(workspace, ON_PATH) == asked(workspace.parent / "other") == str(program)
    assert asked(workspace, str(on_path)) == str(program)


@pytest.mark.parametrize(
    ("package", "program"),
    [
        ("typescript", "typescript-linux-x64/lib/tsc"),
        ("@typescript/native-preview", "native-preview-linux-x64/lib/tsgo"),
    ],
)
def test_pnpm_keeps_it_elsewhere(workspace: Path, package: str, program: str) -> None:
    modules = workspace.parent / "pnpm/node_modules"
    kept = modules / f".pnpm/{package.replace('/', '+')}@7.0.2/node_modules"
    native = executable(kept / "@typescript" / program)
    (kept / package).mkdir(parents=True)
    (modules / package).parent.mkdir(exist_ok=True)
    (modules / package).symlink_to(kept / package, target_is_directory=True)
    assert asked(modules.parent) == str(native)
    assert asked(modules.parent, str(executable(modules / ".bin/tsc", b"#!/bin/sh"))) == str(native)


def test_another_choice_ends_what_runs_and_counts_from_then_on(tmp_path: Path) -> None:
    index, registry = WorkspaceIndex(tmp_path), HolesRegistry()
    before = registry.of(index)
    assert not registry.use_typescript("")
    assert registry.of(index) is before
    assert registry.use_typescript(ON_PATH)
    assert before.closed
    assert registry.of(index) is not before
    registry.close()
