"""Fixtures every test folder shares: the real model and the evaluation data, or a loud reason why not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def unavailable(what: str) -> None:
    """Skip outside CI; in CI everything must be there, so fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def default_model_path() -> Path:
    """The default model's GGUF file, already pulled by `make models`."""
    from holefill.model.store import ModelStore

    path = ModelStore.default().find("qwen2.5-coder-0.5b")
    if path is None:
        unavailable("the default model is not here: run `make models`")
    assert path is not None
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of evaluation data; HOLEFILL_DATA overrides ../shared/data."""
    path = Path(os.environ.get("HOLEFILL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not path.is_dir():
        unavailable(f"no evaluation data at {path}: set HOLEFILL_DATA")
    return path
