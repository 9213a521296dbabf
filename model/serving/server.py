"""Listeners around one application: a private Unix socket, a guarded TCP address, or both; stops when idle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from holefill.model.errors import EngineError
from holefill.model.serving.app import ServingState, create_app
from holefill.model.serving.guard import Guard, Policy
from holefill.model.serving.repository_protocol import LOOPBACK_HOSTS
from holefill.model.serving.socket_folder import ADVICE, private_folder

POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Listener:
    socket: socket.socket
    policy: Policy


def unix_listener(path: Path) -> Listener:
    """A socket only this user can open: mode 0600 in a folder of mode 0700. The caller holds the socket's lock."""
    private_folder(path.parent)
    path.unlink(missing_ok=True)  # left by an engine that was killed
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    except OSError as error:
        raise EngineError(f"cannot listen on {path}: {error.strerror or error}; {ADVICE}") from error
    finally:
        os.umask(before)
    listening.listen(128)
    return Listener(listening, Policy())


def tcp_listener(host: str, port: int, token: str) -> Listener:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise EngineError(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another port") from error
    listening.listen(128)
    wildcard = host in ("0.0.0.0", "::")  # any name may lead here; the token alone decides
    return Listener(
        listening,
        Policy(
            token,
            None if wildcard else LOOPBACK_HOSTS | {host.lower(), socket.gethostname()},
            repositories=host.lower() in LOOPBACK_HOSTS,
        ),
    )


def run_server(
    state: ServingState,
    listeners: list[Listener],
    load: Callable[[], None],
    *,
    idle_minutes: float | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve until idle, stopped or signalled. ``load`` makes the state ready, in a thread; its error ends it all."""
    idle_s = None if idle_minutes is None else idle_minutes * 60
    asyncio.run(_serve(state, listeners, load, idle_s, stop or threading.Event()))


async def _serve(
    state: ServingState,
    listeners: list[Listener],
    load: Callable[[], None],
    idle_s: float | None,
    stop: threading.Event,
) -> None:
    app = create_app(state)
    servers = [_Server(_config(Guard(app, listener.policy))) for listener in listeners]
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = [
        asyncio.create_task(server.serve(sockets=[listener.socket]))
        for server, listener in zip(servers, listeners, strict=True)
    ]
    loading = _start(load)
    while not stop.is_set() and not (loading.done() and loading.exception()):
        if idle_s is not None and state.idle_seconds() > idle_s:
            break
        await asyncio.sleep(POLL_S)
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*running)
    if loading.done():
        loading.result()


def _start(load: Callable[[], None]) -> Future[None]:
    """In a daemon thread: a model half loaded must not delay the exit."""
    future: Future[None] = Future()

    def work() -> None:
        try:
            load()
        except BaseException as error:  # the future carries it to the thread that reports it
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=work, name="load", daemon=True).start()
    return future


def _config(app: ASGIApp) -> uvicorn.Config:
    """Nothing of a request is logged: an access log would be one line per key."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
        server_header=False,
    )


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Several servers share a process: ``_serve`` handles signals for all."""
        yield
