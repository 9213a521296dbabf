"""Keeps one child process running: starts it in the background, restarts it a few times, then gives up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from holefill.context.types.transport import ChildError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    start_s: float = 10.0
    hang_s: float = 2.0
    """No answer for so long: the child hangs."""
    backoff_s: tuple[float, ...] = (0.5, 2.0, 8.0)
    """Waits before the restarts; after the last of them there is none for the session."""
    max_reply_bytes: int = 32_000_000
    max_rss_bytes: int = 1 << 30


S = TypeVar("S")


class Keeper(Generic[S]):
    """``start`` makes a ready session or raises ``ChildError``; it runs on a thread of its own."""

    def __init__(self, name: str, start: Callable[[], S], end: Callable[[S, str], None], limits: Limits) -> None:
        self._name = name
        self._start = start
        self._end = end
        self._limits = limits
        self._lock = threading.Condition()
        self._session: S | None = None
        self._starting = False
        self._failures = 0
        self._next_start = 0.0
        self._closed = False
        self.reason = "starting"

    def session(self, wait_s: float = 0.0) -> S | None:
        """The ready session; starts one if one may be, and waits so long for it. None: ``reason`` says why."""
        with self._lock:
            may_start = self._session is None and not self._closed and not self._starting and not self.given_up
            if may_start and time.monotonic() >= self._next_start:
                self._starting = True
                threading.Thread(target=self._run, name=f"holefill-{self._name}", daemon=True).start()
            if wait_s > 0:
                self._lock.wait_for(lambda: not self._starting, wait_s)
            return self._session

    @property
    def given_up(self) -> bool:
        return self._failures > len(self._limits.backoff_s)

    def failed(self, session: S | None, reason: str) -> None:
        """The session cannot be used any more; it is ended here."""
        if session is not None:
            self._end(session, reason)
        with self._lock:
            if self._closed or (session is not None and session is not self._session):
                return  # an older one
            self._session = None
            self._failures += 1
            self.reason = "gave up" if self.given_up else "crashed"
            if not self.given_up:
                self._next_start = time.monotonic() + self._limits.backoff_s[self._failures - 1]
        log.warning("%s: %s; %s", self._name, reason, "it is not used any more" if self.given_up else "restarting")

    def close(self) -> None:
        with self._lock:
            session, self._session, self._closed = self._session, None, True
            self.reason = "closed"
        if session is not None:
            self._end(session, self.reason)

    def _run(self) -> None:
        session: S | None = None
        problem = ""
        try:
            session = self._start()
        except ChildError as error:
            problem = str(error)
        with self._lock:
            self._starting = False
            late = self._closed
            if session is not None and not late:
                self._session, self.reason = session, ""
            self._lock.notify_all()
        if session is None:
            self.failed(None, problem)
        elif late:
            self._end(session, self.reason)


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process, where the operating system tells it in a file (Linux)."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return None
