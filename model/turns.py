"""Who computes next: one at a time, interactive requests before background ones."""

from __future__ import annotations

import threading
from collections.abc import Callable

from holefill.model.cancel import CancelToken, Interrupt

POLL_S = 0.02  # how late a deadline may be noticed while queueing; a cancel wakes at once


class Turns:
    """A lock with two classes of waiters, first come first served within each.

    An interactive waiter interrupts background work that computes.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = False
        self._waiting: list[tuple[bool, int]] = []
        self._tickets = 0
        self._background: Interrupt | None = None
        """Of the background work that has the turn."""

    def enter(
        self, background: bool, cancel: CancelToken, interrupted: Callable[[], object | None], interrupt: Interrupt
    ) -> bool:
        """Wait for the turn; False when ``interrupted()`` (not None) came first. ``interrupt``: of who enters."""
        cancel.on_cancel(self._wake)
        with self._changed:
            self._tickets += 1
            ticket = (background, self._tickets)
            self._waiting.append(ticket)
            if not background and self._background is not None:
                self._background.set()
            try:
                while self._busy or min(self._waiting) != ticket:
                    if interrupted() is not None:
                        return False
                    self._changed.wait(POLL_S)
                if interrupted() is not None:
                    return False
                self._busy = True
                self._background = interrupt if background else None
                return True
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def leave(self) -> None:
        with self._changed:
            self._busy = False
            self._background = None
            self._changed.notify_all()

    def interactive_waiting(self) -> bool:
        with self._changed:
            return any(not background for background, _ in self._waiting)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
