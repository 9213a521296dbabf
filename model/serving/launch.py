"""One engine per machine and model: found when it runs, started when it does not, restarted when it died.

Imports no torch: this runs in the language server.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError
from holefill.model.repository import RepositoryReply, RepositoryUpdate
from holefill.model.request import Chunk, GenerateRequest, Timing
from holefill.model.serving.client import Health, HttpBackend, UnreachableError
from holefill.model.serving.socket_folder import private_folder, runtime_dir, unusable

POLL_S = 0.05
LOG_TAIL = 2000


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    model: str
    device: str = "auto"
    idle_minutes: float = 30.0
    start_timeout_s: float = 600.0
    """A first start packs the weights."""
    adapter: Path | None = None
    """Low-rank adapter file; an engine serves one, so that no cache is shared between two."""
    runtime_dir: Path | None = None
    """Folder of sockets; None: the user's own runtime folder."""


def socket_path(model: str, device: str = "auto", folder: Path | None = None, *, adapter: Path | None = None) -> Path:
    """Short, for the 107 bytes a socket's path may have; the same for every way to write the path of one file."""
    local = Path(model).expanduser()
    identity = f"{local.resolve() if local.exists() else model}\n{device}\n{os.environ.get('HOLEFILL_HOME', '')}"
    if adapter is not None:  # trained anew it is another file, and needs another engine
        stamp = adapter.stat().st_mtime_ns if adapter.exists() else 0
        identity += f"\n{adapter.resolve()} {stamp}"
    return (folder or runtime_dir()) / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.sock"


class LocalEngine:
    """A ``Backend`` that keeps an engine process behind it."""

    def __init__(self, options: LaunchOptions, progress: Callable[[Health], None] | None = None) -> None:
        self._options = options
        self._progress = progress or (lambda health: None)
        self._socket = socket_path(options.model, options.device, options.runtime_dir, adapter=options.adapter)
        self._lock = threading.Lock()
        self._backend = HttpBackend(uds=self._socket)

    @property
    def model_name(self) -> str:
        return Path(self._options.model).name

    @property
    def socket(self) -> Path:
        return self._socket

    def close(self) -> None:
        """The engine stays for other windows; it exits by itself when idle."""
        self._backend.close()

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        try:
            yield from self._backend.generate(request, cancel)
        except UnreachableError:
            self.ensure(cancel)
            yield from self._backend.generate(request, cancel)

    @property
    def heals(self) -> bool:
        return self._backend.heals

    @property
    def constrains(self) -> bool:
        return self._backend.constrains

    @property
    def warms(self) -> bool:
        return self._backend.warms

    def warm(self, prompt_ids: Sequence[int], cancel: CancelToken | None = None) -> Timing:
        """Starts no engine: the next request does."""
        return self._backend.warm(prompt_ids, cancel)

    @property
    def takes_repositories(self) -> bool:
        return self._backend.takes_repositories

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        """Starts no engine: one that starts later is sent the repository then."""
        return self._backend.sync_repository(update)

    def ensure(self, cancel: CancelToken | None = None) -> None:
        """Returns when an engine is ready. Raises ``EngineError`` with the engine's own last words when it cannot."""
        cancel = cancel or CancelToken()
        with _held(self._lock, cancel):
            if (health := self._healthy()) is not None and health.ready:
                return
            private_folder(self._socket.parent)
            try:
                with _started_by_one(f"{self._socket}.start", cancel):
                    process = None if self._healthy() is not None else self._start()
                    self._wait(process, cancel)
            except OSError as error:
                raise unusable(self._socket.parent, error) from error

    def _healthy(self) -> Health | None:
        try:
            return self._backend.health()
        except UnreachableError:
            return None

    def _start(self) -> subprocess.Popen[bytes]:
        # -P: the editor's current directory is the user's workspace, and a folder named like a library must not win.
        command = [sys.executable, "-P", "-m", "holefill.model.serving.commands"]
        command += ["--model", self._options.model, "--socket", str(self._socket), "--device", self._options.device]
        command += ["--idle-minutes", str(self._options.idle_minutes)]
        adapter = self._options.adapter
        command += ["--no-adapter"] if adapter is None else ["--adapter", str(adapter)]
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, start_new_session=True
            )
        except OSError as error:
            raise EngineError(f"cannot start the engine: {error}") from error
        finally:
            os.close(descriptor)

    @property
    def _log(self) -> Path:
        return self._socket.with_suffix(".log")

    def _wait(self, process: subprocess.Popen[bytes] | None, cancel: CancelToken) -> None:
        deadline = time.monotonic() + self._options.start_timeout_s
        while time.monotonic() < deadline:
            _check(cancel)
            if (health := self._healthy()) is not None:
                self._progress(health)
                if health.ready:
                    return
            elif process is None:
                raise EngineError("the engine stopped while loading: ask again to start a new one")
            if process is not None and process.poll() is not None:
                raise EngineError(f"the engine could not start: {self._last_words()}")
            time.sleep(POLL_S)
        raise EngineError(f"the engine was not ready after {self._options.start_timeout_s:.0f} s: see {self._log}")

    def _last_words(self) -> str:
        """What the engine printed last: its own error message."""
        try:
            lines = self._log.read_text("utf-8", "replace")[-LOG_TAIL:].strip().splitlines()
        except OSError:
            lines = []
        return lines[-1].removeprefix("Error: ") if lines else f"it gave no reason; see {self._log}"


@contextlib.contextmanager
def _held(lock: threading.Lock, cancel: CancelToken) -> Iterator[None]:
    """Keys typed while the engine starts wait here, and leave when cancelled."""
    while not lock.acquire(timeout=POLL_S):
        _check(cancel)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _started_by_one(path: str, cancel: CancelToken) -> Iterator[None]:
    """Two windows that open at once start one engine."""
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=POLL_S)
            break
        except Timeout:
            _check(cancel)
    try:
        yield
    finally:
        lock.release()


def _check(cancel: CancelToken) -> None:
    if cancel.is_set():
        raise EngineError("the engine is still starting: ask again soon")
