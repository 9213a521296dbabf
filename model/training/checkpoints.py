"""The state of a run on disk: written beside the old one and renamed, so a killed run always finds a whole one."""

from __future__ import annotations

import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holefill.model.training.examples import TrainingError

STATE_VERSION = 1
"""Raise it when a state of the old meaning must not be resumed."""


@dataclass(frozen=True, slots=True)
class RunState:
    step: int
    """Steps done."""
    recipe: str
    """Everything that decides the result, as text; a run resumes only its own."""
    factors: dict[str, Tensor]
    optimizer: dict[str, Any]
    losses: list[float]
    seconds: float


def save_state(path: Path, state: RunState) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    fields = {name: getattr(state, name) for name in RunState.__slots__}
    with temporary.open("wb") as out:
        torch.save({"version": STATE_VERSION, **fields}, out)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)


def load_state(path: Path, recipe: str) -> RunState | None:
    """None when there is none. Raises TrainingError for a damaged one or one of another recipe."""
    fields = _read(path)
    if fields is None:
        return None
    if fields.pop("version", None) != STATE_VERSION or fields["recipe"] != recipe:
        raise TrainingError(
            f"{path} belongs to a run of other settings, data or weights: delete it, or name another --output"
        )
    return RunState(**fields)


def saved_recipe(path: Path) -> str | None:
    """Of the state at ``path``; None when there is none."""
    fields = _read(path)
    return None if fields is None else str(fields.get("recipe"))


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        if not zipfile.is_zipfile(path):  # a cut-off file, on which the unpickler fails in ways of its own
            raise OSError("cut off")
        fields: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise TrainingError(f"{path} is damaged ({error}): delete it to start again") from error
    return fields
