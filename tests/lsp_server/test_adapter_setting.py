"""Which adapter serves a workspace: the setting's, else the tuned one of its only folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from holefill.lsp_server.config import Settings
from holefill.lsp_server.connect import adapter_for
from holefill.model import shipped, tuned
from holefill.model.serving.launch import LaunchOptions, LocalEngine, socket_path
from holefill.model.tuned import TunedError


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tuned adapter that won; no model has one of its own."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "shipped")
    monkeypatch.setenv("HOLEFILL_TUNED", str(tmp_path / "tuned"))
    folder = tmp_path / "workspace"
    folder.mkdir()
    model = Settings().model
    won = tuned.Tuned(str(folder), model, True, True, 40, (2.0, 0.5, 4.0), (1.0, 0.0, 2.0), "c", 1.0, 1)
    tuned.save(folder, won)
    (tuned.folder_of(folder, model) / tuned.ADAPTER).write_bytes(b"x")
    return folder


def test_the_tuned_adapter_serves_its_own_workspace_only(workspace: Path, tmp_path: Path) -> None:
    expected = tuned.folder_of(workspace, Settings().model) / tuned.ADAPTER
    assert adapter_for(Settings(), [str(workspace)]) == expected
    assert adapter_for(Settings(), [str(workspace / "src")]) == expected
    assert adapter_for(Settings(), [str(tmp_path)]) is None
    assert adapter_for(Settings(), [str(workspace), str(tmp_path)]) is None
    assert adapter_for(Settings(), []) is None
    assert adapter_for(Settings(model="another"), [str(workspace)]) is None
    assert adapter_for(Settings(adapter="off"), [str(workspace)]) is None


def test_a_known_models_own_adapter_comes_last(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    model = Settings().model
    own = tmp_path / f"{model}.safetensors"
    assert adapter_for(Settings(), [str(tmp_path)]) is None
    own.write_bytes(b"x")
    assert adapter_for(Settings(), [str(tmp_path)]) == own
    assert adapter_for(Settings(), [str(workspace)]) == own  # the tuned one was compared with none
    won = tuned.find(workspace, model)
    assert won is not None
    tuned.save(workspace, replace(won, beneath=shipped.file_key(own)))
    assert adapter_for(Settings(), [str(workspace)]) == tuned.folder_of(workspace, model) / tuned.ADAPTER
    assert adapter_for(Settings(adapter="off"), [str(tmp_path)]) is None
    assert shipped.shipped_adapter(str(tmp_path / model)) is None
    assert shipped.shipped_adapter("another") is None


def test_a_named_file_wins_and_must_be_there(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    with pytest.raises(TunedError, match="change the setting"):
        adapter_for(Settings(adapter=str(file)), [str(workspace)])
    file.write_bytes(b"x")
    assert adapter_for(Settings(adapter=str(file)), [str(workspace)]) == file


def test_an_engine_serves_one_adapter(workspace: Path, tmp_path: Path) -> None:
    """So neither cached rows nor learned drafts are shared between two; trained anew it is another engine."""
    adapter = tmp_path / "a.safetensors"
    adapter.write_bytes(b"1")
    plain = socket_path("m", folder=tmp_path)
    first = socket_path("m", folder=tmp_path, adapter=adapter)
    assert LocalEngine(LaunchOptions("m", adapter=adapter, runtime_dir=tmp_path)).socket == first != plain
    os.utime(adapter, ns=(1, 1))
    assert socket_path("m", folder=tmp_path, adapter=adapter) not in (first, plain)
