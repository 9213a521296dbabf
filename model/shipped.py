"""Adapters that come with the package: one per known model that has been shown to win with it. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

FOLDER = Path(__file__).with_name("shipped_adapters")

Command = TypeVar("Command", bound=Callable[..., Any])


def shipped_adapter(model: str) -> Path | None:
    """Of a known model by its name; None where none was worth shipping. A user's own file never gets one."""
    path = FOLDER / f"{model}.safetensors"
    return path if Path(model).name == model and path.is_file() else None


def file_key(path: Path | None) -> str:
    """Names an adapter by the bytes of its file; empty for none."""
    return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def shipped_with(key: str) -> Path | None:
    """The shipped adapter of that ``file_key``; None once another version of holefill is installed."""
    return next((path for path in sorted(FOLDER.glob("*.safetensors")) if file_key(path) == key), None)


def served_adapter(model: str, adapter: Path | None, no_adapter: bool) -> Path | None:
    """What ``adapter_options`` mean: none on demand, the file named, else the one that comes with the model."""
    return None if no_adapter else adapter or shipped_adapter(model)


def adapter_options(command: Command) -> Command:
    """``--adapter`` and ``--no-adapter`` of every command that computes with a model."""
    command = click.option("--no-adapter", is_flag=True, help="The model alone.")(command)
    return click.option(
        "--adapter",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Low-rank adapter file.  [default: the one that comes with the model, if any]",
    )(command)
