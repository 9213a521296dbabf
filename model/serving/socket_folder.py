"""Where the engine's socket is: a folder that only its user can enter."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from holefill.model.errors import EngineError

ADVICE = "set HOLEFILL_RUNTIME_DIR to a folder of yours with a short path, or choose another --socket"


def runtime_dir() -> Path:
    """``$HOLEFILL_RUNTIME_DIR``, else the session's folder for sockets, else (no session) one in the user's cache."""
    if chosen := os.environ.get("HOLEFILL_RUNTIME_DIR"):
        return Path(chosen)
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(session) / "holefill"
    return Path(platformdirs.user_cache_dir("holefill", appauthor=False)) / "run"


def private_folder(folder: Path) -> None:
    """Created with mode 0700; one that others could enter is refused. Raises ``EngineError``."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise unusable(folder, error) from error
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise EngineError(f"{folder} must belong to you alone (mode 0700): `chmod 700 {folder}`, or {ADVICE}")


def unusable(folder: Path, error: OSError) -> EngineError:
    return EngineError(f"{folder} cannot hold the engine's socket ({error.strerror or error}): {ADVICE}")
