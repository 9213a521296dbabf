"""What the user is likely to ask for next is computed while nothing else is to do: after a pause, until the next key.

After a suggestion was shown it is the prompt at its end; where the cursor rests or a file was opened, the one there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from holefill.lsp_server.completion import Completion, CompletionRequest
from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError

log = logging.getLogger(__name__)

PAUSE_S = 0.15
"""Between two keys of someone who types there is less."""
OPENED_CHARS = 1_200
"""Nobody says where the cursor of an opened file is: the prompt of a place near its start holds its first lines, as
the prompt of any place not far below will, and drafts learn from them."""

Ask = Callable[[CompletionRequest, Completion | None, CancelToken], None]


class Prefetcher:
    """Any thread may call any method; none of them waits. The newest wish replaces the one before."""

    def __init__(self, ask: Ask, pause_s: float = PAUSE_S) -> None:
        self._ask = ask
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._current = CancelToken()
        self._timer: threading.Timer | None = None
        self._unmet: tuple[CompletionRequest, Completion | None] | None = None
        """The newest wish that no key has overtaken."""
        self._stopped = False

    def shown(self, request: CompletionRequest, completion: Completion) -> None:
        """``completion`` is on the user's screen; silence leads nowhere."""
        if completion.text:
            self._schedule(request, completion)

    def rests(self, request: CompletionRequest) -> None:
        """The cursor is there, and nothing was asked; where something is shown already, that decides."""
        with self._lock:
            wished = self._unmet
        if wished is None or wished[0].cursor != request.cursor:
            self._schedule(request, None)

    def connected(self) -> None:
        """An engine is there now: what was wished for while it started."""
        with self._lock:
            unmet = self._unmet
        if unmet is not None:
            self._schedule(*unmet)

    def cancel(self) -> None:
        """A key: what runs ends within one step, what it has computed stays."""
        with self._lock:
            self._cancel()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._cancel()

    def _cancel(self) -> None:
        self._unmet = None
        self._current.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, request: CompletionRequest, completion: Completion | None) -> None:
        with self._lock:
            self._cancel()
            if self._stopped:
                return
            self._unmet, self._current = (request, completion), CancelToken()
            self._timer = threading.Timer(self._pause_s, self._run, (request, completion, self._current))
            self._timer.daemon = True
            self._timer.start()

    def _run(self, request: CompletionRequest, completion: Completion | None, cancel: CancelToken) -> None:
        if cancel.is_set():
            return
        try:
            self._ask(request, completion, cancel)
        except EngineError as error:  # the next request meets the same and tells the user
            log.info("nothing was computed ahead: %s", error)
        except Exception:  # the boundary of this thread
            log.exception("nothing was computed ahead")


def opened_at(text: str) -> int:
    """The start of the line at ``OPENED_CHARS``, or the end of a shorter text."""
    return len(text) if len(text) <= OPENED_CHARS else text.rfind("\n", 0, OPENED_CHARS) + 1
