"""The floor at once; in its place the checker's answer when it comes in time; a late one serves the next keystroke."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.provider import Deadline
from holefill.context.types.floor import FloorOracle
from holefill.context.types.oracle import (
    Answer,
    Cap,
    Diagnostic,
    Hole,
    Member,
    Signature,
    Source,
    TypeInfo,
    TypeOracle,
)

log = logging.getLogger(__name__)

_MAX_LATE = 256
_WORK_MS = 6000.0
"""A late answer may take as long; a child that hangs is ended by its own, shorter limit."""
_WINDOW, _MISSES, _EVERY = 20, 5, 4
T = TypeVar("T")
Key = tuple[str, str, int, int]


class Pace:
    """Five missed deadlines in twenty: then only every fourth keystroke asks, until one is met again."""

    def __init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=_WINDOW)
        self._skipped = 0

    def allows(self) -> bool:
        if self._recent.count(False) < _MISSES:
            return True
        self._skipped += 1
        return self._skipped % _EVERY == 0

    def met(self, in_time: bool) -> None:
        if in_time and self._recent.count(False) >= _MISSES:
            self._recent.clear()
        self._recent.append(in_time)


class Layered:
    """A ``TypeOracle`` over a floor and, where there is one, a checker. Only the newest version of a file is asked."""

    def __init__(self, index: WorkspaceIndex, oracle: TypeOracle | None) -> None:
        self.floor = FloorOracle(index)
        self.oracle = oracle
        self._index = index
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="holefill-types")
        self._late: OrderedDict[Key, Answer[object]] = OrderedDict()
        self._newest: dict[str, int] = {}
        self._pace = Pace()
        self._lock = threading.Lock()

    @property
    def caps(self) -> frozenset[Cap]:
        return self.floor.caps | (frozenset() if self.oracle is None else self.oracle.caps)

    def ready(self, wait_s: float) -> bool:
        """Has the checker started, or come to its end, within the time?"""
        until = time.monotonic() + wait_s
        while getattr(self.oracle, "reason", "") == "starting" and time.monotonic() < until:
            time.sleep(0.01)
        return getattr(self.oracle, "reason", "") != "starting"

    def sync(self, path: str, text: str | None) -> None:
        if self.oracle is not None:
            self.oracle.sync(path, text)

    # ``slim``: the same hole in a buffer with less to check, for the checker alone (``skeleton``).

    def expected_type(
        self, hole: Hole, deadline: Deadline, slim: Hole | None = None, least: Callable[[], Hole] | None = None
    ) -> Answer[TypeInfo]:
        return self._layered("expected_type", hole, deadline, TypeInfo, slim, least)

    def receiver_type(self, hole: Hole, deadline: Deadline, slim: Hole | None = None) -> Answer[TypeInfo]:
        return self._layered("receiver_type", hole, deadline, TypeInfo, slim)

    def members(self, hole: Hole, deadline: Deadline, slim: Hole | None = None) -> Answer[tuple[Member, ...]]:
        return self._layered("members", hole, deadline, tuple, slim)

    def signatures(self, hole: Hole, deadline: Deadline, slim: Hole | None = None) -> Answer[tuple[Signature, ...]]:
        return self._layered("signatures", hole, deadline, tuple, slim)

    def report(
        self, hole: Hole, filled: str, deadline: Deadline, fill: tuple[int, int] | None = None
    ) -> Answer[tuple[Diagnostic, ...]]:
        oracle: TypeOracle = self.floor if self.oracle is None else self.oracle
        return oracle.report(hole, filled, deadline, fill)

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)
        if self.oracle is not None:
            self.oracle.close()

    def _layered(
        self, method: str, hole: Hole, deadline: Deadline, kind: type[T], slim: Hole | None, *more: object
    ) -> Answer[T]:
        """``more``: what the checker's method takes behind its deadline."""
        future = self._submit(method, hole, slim or hole, *more)
        floor: Answer[T] = getattr(self.floor, method)(hole, deadline)
        told = self._collect(future, method, hole, deadline)
        if isinstance(told.value, kind):
            return Answer(told.value, told.source, told.reason, told.elapsed_ms)
        return floor if floor.value is not None else Answer(None, floor.source, told.reason or floor.reason)

    def _submit(self, method: str, hole: Hole, asked: Hole, *more: object) -> Future[Answer[object]] | None:
        with self._lock:
            self._newest[hole.path] = max(hole.version, self._newest.get(hole.path, 0))
            if self.oracle is None or not self._pace.allows():
                return None
        try:
            return self._worker.submit(self._work, method, hole, asked, *more)
        except RuntimeError:  # closed
            return None

    def _work(self, method: str, hole: Hole, asked: Hole, *more: object) -> Answer[object]:
        if hole.version < self._newest.get(hole.path, 0):
            return Answer(None, Source.ORACLE, "superseded")
        ask: Callable[..., Answer[object]] = getattr(self.oracle, method)
        answer = ask(asked, Deadline.after_ms(_WORK_MS), *more)
        if answer.value is not None:
            with self._lock:
                self._late[self._key(method, hole)] = answer
                if len(self._late) > _MAX_LATE:
                    self._late.popitem(last=False)
        return answer

    def _collect(
        self, future: Future[Answer[object]] | None, method: str, hole: Hole, deadline: Deadline
    ) -> Answer[object]:
        if future is not None:
            try:
                answer = future.result(timeout=deadline.remaining_ms() / 1000)
            except FutureTimeoutError:
                self._pace.met(False)
            else:
                self._pace.met(answer.reason != "deadline")
                if answer.value is not None or answer.reason == "unknown":
                    return answer
        with self._lock:
            late = self._late.get(self._key(method, hole))
        return late or Answer(None, Source.ORACLE, "no-oracle" if self.oracle is None else "deadline")

    def _key(self, method: str, hole: Hole) -> Key:
        """What an answer depends on, as far as it matters from one key to the next: the statement up to the name."""
        return method, hole.path, hash(hole.text[hole.statement : hole.name_start]), self._index.epoch
