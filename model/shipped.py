"""Adapters that come with the package: one per known model that has been shown to win with it. Imports no torch."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).with_name("shipped")


def shipped_adapter(model: str) -> Path | None:
    """Of a known model by its name; None where none was worth shipping. A user's own file never gets one."""
    path = FOLDER / f"{model}.safetensors"
    return path if Path(model).name == model and path.is_file() else None
