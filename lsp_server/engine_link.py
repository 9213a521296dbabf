"""From settings to a ready ``Completer``: finds the model, starts or reaches the engine, and says what is missing.

Nothing here runs on the event loop, and no failure leaves it: it becomes a status and the reason of an answer, and the
next request tries again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from holefill.context.errors import ContextError
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.completion import Completion, CompletionRequest, Reason, Receipt
from holefill.model.cancel import CancelToken
from holefill.model.errors import ModelError, UnknownModelError
from holefill.model.request import Backend

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Called with bytes done, bytes in all, and what is being fetched."""
RETRY_S = 2.0
"""A failed start is tried again by the first request after this long."""


class ModelNotHereError(UnknownModelError):
    """A known model that has not been fetched yet."""


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    THINKING = "thinking"
    DOWNLOADING = "downloading"
    OFF = "off"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Status:
    """What the editor's status bar shows."""

    state: State
    message: str = ""
    percent: float | None = None


class EngineLink:
    """``connect`` builds a Completer (slow: it may start a process); ``tell`` hears every change of state."""

    def __init__(
        self, connect: Callable[[], Completer], fetch: Callable[[Progress], None], tell: Callable[[Status], None]
    ) -> None:
        self._connect = connect
        self._fetch = fetch
        self._tell = tell
        self._lock = threading.Lock()
        self._completer: Completer | None = None
        self._loading = False
        self._failed_at: float | None = None
        self.status = Status(State.OFF)
        self.can_pull = False
        """The model is a known one that is not on this machine."""

    def warm_up(self) -> None:
        """Starts loading in the background, unless it runs, is done, or failed a moment ago."""
        with self._lock:
            recent = self._failed_at is not None and time.monotonic() - self._failed_at < RETRY_S
            if self._loading or self._completer is not None or recent:
                return
            self._loading = True
        self._set(Status(State.STARTING, "starting the engine"))
        threading.Thread(target=self._load, name="holefill-engine-link", daemon=True).start()

    def complete(self, request: CompletionRequest, cancel: CancelToken) -> Completion:
        self.warm_up()
        completer = self._completer
        if completer is None:
            reason = Reason.ENGINE_ERROR if self.status.state is State.ERROR else Reason.MODEL_LOADING
            return Completion("", reason, Receipt(note=self.status.message))
        completion = completer.complete(request, cancel)
        if completion.reason is Reason.ENGINE_ERROR:
            self._lost(completion.receipt.note)
        elif self.status.state is State.ERROR:
            self._set(Status(State.READY))
        return completion

    @property
    def backend(self) -> Backend | None:
        """The engine, once it is ready."""
        completer = self._completer
        return None if completer is None else completer.backend

    def recall(self, request: CompletionRequest) -> Completion | None:
        return None if self._completer is None else self._completer.recall(request)

    def prefetch(self, request: CompletionRequest, completion: Completion | None, cancel: CancelToken) -> None:
        """Idle work of an engine that is ready; starts none. Raises ``EngineError``."""
        if self._completer is not None:
            self._completer.prefetch(request, completion, cancel)

    def forget(self) -> None:
        """Files changed that answers may depend on."""
        if self._completer is not None:
            self._completer.forget()

    def reset(self) -> None:
        """Settings changed or a model arrived: connect anew."""
        with self._lock:
            completer, self._completer = self._completer, None
            self._failed_at = None
        if completer is not None:
            completer.backend.close()

    def close(self) -> None:
        self.reset()
        self._set(Status(State.OFF))

    def pull(self) -> None:
        """Fetches the missing model in the background, then loads it."""
        with self._lock:
            if self._loading:
                return
            self._loading = True
        threading.Thread(target=self._pull, name="holefill-model-pull", daemon=True).start()

    def _pull(self) -> None:
        status = Status(State.DOWNLOADING, "fetching the model", 0.0)
        self._set(status)

        def progress(done: int, total: int, what: str) -> None:
            percent = float(100 * done // total) if total else 0.0
            if percent != self.status.percent:
                self._set(replace(status, percent=percent))

        try:
            self._fetch(progress)
        except ModelError as error:
            status = Status(State.ERROR, str(error))
        with self._lock:
            self._loading, self._failed_at = False, None
        if status.state is State.ERROR:
            self._set(status)
        else:
            self.warm_up()

    def _load(self) -> None:
        completer: Completer | None = None
        status = Status(State.READY)
        missing = False
        try:
            completer = self._connect()
        except (ModelError, ContextError) as error:
            status, missing = Status(State.ERROR, str(error)), isinstance(error, ModelNotHereError)
        except Exception as error:  # the boundary of this thread; without it the status would say "starting" forever
            log.exception("the engine could not be reached")
            status = Status(State.ERROR, f"{type(error).__name__}: run `holefill doctor` to see what is wrong")
        with self._lock:
            self._completer, self._loading, self.can_pull = completer, False, missing
            self._failed_at = None if completer is not None else time.monotonic()
        self._set(status)

    def _lost(self, note: str) -> None:
        log.warning("engine error: %s", note)
        self.reset()
        with self._lock:
            self._failed_at = time.monotonic()
        self._set(Status(State.ERROR, note))

    def _set(self, status: Status) -> None:
        if status != self.status:
            self.status = status
            self._tell(status)
