"""Adapters of the user's own repositories: where they are, what they were judged by, which one serves a folder.

Imports no torch: the language server asks here. One folder per repository and model, under the user's data folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from holefill.model.errors import ModelError
from holefill.model.shipped import file_key, shipped_adapter

ADAPTER, RECORD = "adapter.safetensors", "tuned.json"


class TunedError(ModelError):
    """What was asked of a tuned adapter cannot be done."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The verdict on one repository's adapter. Percentages are 0–100; differences are tuned − plain, paired."""

    repository: str
    model: str
    won: bool
    enabled: bool
    n: int
    es: tuple[float, float, float]
    """Edit similarity on the later commits: mean difference and its 95 % interval."""
    em: tuple[float, float, float]
    split: str
    """The commit it was trained on; everything it was judged by is later."""
    seconds: float
    size: int
    """Bytes of the adapter."""
    outside: float = 0.0
    """By how much the mean loss of a token rose on code that is not the repository's."""
    beneath: str = ""
    """``file_key`` of the shipped adapter that it stands on and was compared with."""

    @property
    def outdated(self) -> bool:
        """Another adapter comes with the model by now: the verdict says nothing about that one."""
        return self.beneath != file_key(shipped_adapter(self.model))

    @property
    def serves(self) -> bool:
        return self.won and self.enabled and not self.outdated


def tuned_home() -> Path:
    """``$HOLEFILL_TUNED``, else the user's data folder."""
    chosen = os.environ.get("HOLEFILL_TUNED")
    return Path(chosen) if chosen else platformdirs.user_data_path("holefill", appauthor=False) / "tuned"


def folder_of(repository: Path, model: str) -> Path:
    """Nothing of the repository's name or path is readable in the folder's."""
    identity = hashlib.sha256(f"{repository.resolve()}\n{model}".encode()).hexdigest()[:24]
    return tuned_home() / identity


def find(repository: Path, model: str) -> Tuned | None:
    """The verdict on that repository, also on one that lost; a damaged record counts as none."""
    try:
        fields = json.loads((folder_of(repository, model) / RECORD).read_text("utf-8"))
        return Tuned(**{**fields, "es": tuple(fields["es"]), "em": tuple(fields["em"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def serving_adapter(root: str | Path | None, model: str) -> Path | None:
    """The adapter that serves files below ``root``: one that won and is on, of the folder or of one above it."""
    if root is None:
        return None
    for folder in _upwards(Path(root)):
        tuned = find(folder, model)
        if tuned is not None:
            path = folder_of(folder, model) / ADAPTER
            return path if tuned.serves and path.is_file() else None
    return None


def save(repository: Path, tuned: Tuned) -> None:
    folder = folder_of(repository, tuned.model)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{RECORD}.part"
    temporary.write_text(json.dumps(asdict(tuned), indent=1) + "\n", "utf-8")
    temporary.replace(folder / RECORD)


def delete(repository: Path, model: str) -> None:
    """What a killed `holefill tune` left behind too."""
    folder = folder_of(repository, model)
    if not folder.is_dir():
        raise TunedError(f"{repository} has no tuned adapter for {model}: `holefill tune` makes one")
    shutil.rmtree(folder)


def _upwards(folder: Path) -> Iterator[Path]:
    resolved = folder.resolve()
    yield resolved
    yield from resolved.parents
