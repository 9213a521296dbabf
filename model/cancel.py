"""One cancel token per request, polled between stages and decode steps; and what ends a forward in its midst."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable


class CancelToken:
    """Set once, from any thread. Callbacks run on the cancelling thread (at once if already cancelled)."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        return self._event.is_set()

    def cancel(self) -> None:
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()


class Interrupt:
    """Ends the forward that runs, from any thread: a number in memory that compiled code can poll.

    It does not say why. Whoever computes finds that out, and clears it where the work is to go on.
    """

    def __init__(self) -> None:
        self.flag = ctypes.c_int32(0)
        """Nonzero: end as soon as possible."""

    def is_set(self) -> bool:
        return self.flag.value != 0

    def set(self) -> None:
        self.flag.value = 1

    def clear(self) -> None:
        self.flag.value = 0


class Interrupted(Exception):  # noqa: N818  (an outcome, not an error)
    """A forward ended early and appended nothing."""
