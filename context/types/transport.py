"""JSON-RPC over the stdio of a child process, asked from threads under deadlines.

Not pygls' client: it has no limit on a reply's size and goes on waiting after a broken one; here both end the child.
"""

from __future__ import annotations

import json
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, TypeAlias

log = logging.getLogger(__name__)

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Handler = Callable[[str, Json], Json]
"""Answers a request of the child: (method, params) → result."""

_MAX_HEADER = 4096
_METHOD_NOT_FOUND = -32601


class ChildError(Exception):
    """The child is gone, or what it says is no JSON-RPC; it has been ended."""


class LateError(Exception):
    """No answer by the deadline; the request was cancelled and its late answer will be dropped."""


class RefusedError(Exception):
    """The child answered with an error."""


@dataclass(slots=True)
class _Pending:
    done: threading.Event = field(default_factory=threading.Event)
    result: Json = None
    error: str | None = None


class Child:
    """Any thread may call any method. Ends itself, and every waiting caller, on the first thing it cannot read."""

    def __init__(self, command: Sequence[str], cwd: str | None, handler: Handler, max_bytes: int = 32_000_000) -> None:
        self._handler = handler
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._pending: dict[int, _Pending] = {}
        self._next_id = 0
        self.failure: str | None = None
        try:
            self._process = subprocess.Popen(
                list(command), cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise ChildError(f"{command[0]} cannot be started: {error}") from error
        threading.Thread(target=self._read_all, name="holefill-oracle", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self.failure is None

    def request(self, method: str, params: Json, timeout_s: float) -> Json:
        """Raises ``ChildError``, ``LateError`` or ``RefusedError``."""
        with self._begun(method, params) as (number, pending):
            return self._ended(method, number, pending, time.monotonic() + timeout_s)

    def request_all(self, methods: Sequence[str], params: Json, timeout_s: float) -> tuple[Json, ...]:
        """One after the other without waiting in between; None for a refused one. Raises what ``request`` raises."""
        until = time.monotonic() + timeout_s
        replies: list[Json] = []
        with ExitStack() as stack:
            asked = [(method, *stack.enter_context(self._begun(method, params))) for method in methods]
            for method, number, pending in asked:
                try:
                    replies.append(self._ended(method, number, pending, until))
                except RefusedError:
                    replies.append(None)
        return tuple(replies)

    @contextmanager
    def _begun(self, method: str, params: Json) -> Iterator[tuple[int, _Pending]]:
        pending = _Pending()
        with self._lock:
            self._next_id += 1
            number = self._next_id
            self._pending[number] = pending
        try:
            self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            yield number, pending
        finally:
            with self._lock:
                self._pending.pop(number, None)

    def _ended(self, method: str, number: int, pending: _Pending, until: float) -> Json:
        if not pending.done.wait(max(0.0, until - time.monotonic())):
            self.notify("$/cancelRequest", {"id": number})
            raise LateError(method)
        if self.failure is not None and pending.error is None and pending.result is None:
            raise ChildError(self.failure)
        if pending.error is not None:
            raise RefusedError(pending.error)
        return pending.result

    def notify(self, method: str, params: Json) -> None:
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def kill(self, reason: str) -> None:
        """End this child, by its own handle, and wake everybody who waits for it."""
        with self._lock:
            if self.failure is not None:
                return
            self.failure = reason
            waiting = list(self._pending.values())
        self._process.kill()
        for pending in waiting:
            pending.done.set()
        threading.Thread(target=self._process.wait, daemon=True).start()  # collects it

    def _send(self, message: Mapping[str, Json]) -> None:
        body = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
        stdin = self._process.stdin
        assert stdin is not None
        try:
            with self._lock:
                if self.failure is not None:
                    raise ChildError(self.failure)
                stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
                stdin.flush()
        except (OSError, ValueError) as error:
            self.kill(f"cannot be written to: {type(error).__name__}")
            raise ChildError(self.failure or "gone") from error

    def _read_all(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            while True:
                self._receive(_read_message(stdout, self._max_bytes))
        except (ChildError, OSError, ValueError) as error:
            self.kill(str(error) or type(error).__name__)

    def _receive(self, message: Mapping[str, Json]) -> None:
        number, method = message.get("id"), message.get("method")
        if isinstance(method, str):
            if number is not None:
                self._answer(number, method, message.get("params"))
            return
        with self._lock:
            pending = self._pending.get(number) if isinstance(number, int) else None
        if pending is None:
            return  # late: nobody waits for it any more
        error = message.get("error")
        if error is not None:
            pending.error = str(error.get("message")) if isinstance(error, dict) else str(error)
        pending.result = message.get("result")
        pending.done.set()

    def _answer(self, number: Json, method: str, params: Json) -> None:
        try:
            self._send({"jsonrpc": "2.0", "id": number, "result": self._handler(method, params)})
        except NotImplementedError:
            error: Json = {"code": _METHOD_NOT_FOUND, "message": method}
            self._send({"jsonrpc": "2.0", "id": number, "error": error})


def _read_message(stream: IO[bytes], max_bytes: int) -> Mapping[str, Json]:
    length = -1
    while True:
        line = stream.readline(_MAX_HEADER)
        if not line:
            raise ChildError("it exited")
        if line in (b"\r\n", b"\n"):
            break
        name, colon, value = line.partition(b":")
        if not colon or not line.endswith(b"\n"):
            raise ChildError("it printed something that is no message")
        if name.strip().lower() == b"content-length":
            length = int(value)
    if not 0 <= length <= max_bytes:
        raise ChildError(f"a message of {length} bytes (at most {max_bytes} are read)")
    body = stream.read(length)
    if len(body) < length:
        raise ChildError("it exited within a message")
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ChildError("a message that is no object")
    return message
