"""One engine process for every window, and the command that starts it."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from click.testing import CliRunner
from filelock import FileLock

from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError
from holefill.model.request import GenerateRequest
from holefill.model.serving.commands import engine as engine_command
from holefill.model.serving.launch import LaunchOptions, LocalEngine
from holefill.model.serving.server import unix_listener
from tests.model.serving.conftest import PROMPT, text_of, wait_for


class Launch(Protocol):
    def __call__(self, model: str | None = None) -> LocalEngine: ...


@pytest.fixture
def launched(tiny_folder: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    """Starts real engine processes on a tiny model, and ends them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started: list[LocalEngine] = []

    def launch(model: str | None = None) -> LocalEngine:
        started.append(
            LocalEngine(LaunchOptions(model or str(tiny_folder), device="cpu", runtime_dir=short_folder / "run"))
        )
        return started[-1]

    yield launch
    for engine in started:
        for pid in pids(engine.socket):
            os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not any(pids(engine.socket) for engine in started))


def pids(path: Path) -> list[int]:
    """Engine processes that were given this socket."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and str(path).encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def test_one_engine_is_started_shared_and_restarted(launched: Launch) -> None:
    first, second = launched(), launched()
    request = GenerateRequest((1, 2, 3), max_tokens=3)
    threads = [threading.Thread(target=engine.ensure) for engine in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = {text_of(first, request), text_of(second, request)}
    (pid,) = pids(first.socket)
    assert stat.S_IMODE(first.socket.stat().st_mode) == 0o600
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not pids(first.socket))
    assert {text_of(second, request)} == answers, "a dead engine is replaced without the caller noticing"
    assert pids(first.socket) != [pid]


def test_a_cancelled_request_does_not_wait_for_the_start(short_folder: Path) -> None:
    engine, cancel = LocalEngine(LaunchOptions("any", runtime_dir=short_folder)), CancelToken()
    threading.Timer(0.2, cancel.cancel).start()
    with FileLock(f"{engine.socket}.start"), pytest.raises(EngineError, match="still starting"):  # another window's
        list(engine.generate(GenerateRequest(PROMPT), cancel))


def test_an_engine_that_cannot_start_says_why(launched: Launch, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\3\0\0\0")
    for model, says in ((str(tmp_path / "cut.gguf"), r"cut\.gguf"), ("no-such-model", "no-such-model")):
        with pytest.raises(EngineError, match=rf"could not start: .*{says}"):
            launched(model).ensure()


@pytest.mark.parametrize("fault", ["a file", "open to others", "no lock", "too long"])
def test_a_folder_that_cannot_hold_the_socket_is_named_with_what_to_do(short_folder: Path, fault: str) -> None:
    folder = short_folder / ("f" * 110 if fault == "too long" else "run")
    engine = LocalEngine(LaunchOptions("any", runtime_dir=folder))
    if fault == "a file":
        folder.write_bytes(b"")
    elif fault != "too long":
        folder.mkdir(mode=0o700)
        folder.chmod(0o755 if fault == "open to others" else 0o700)
        Path(f"{engine.socket}.start").mkdir()
    with pytest.raises(EngineError, match="HOLEFILL_RUNTIME_DIR") as raised:
        unix_listener(engine.socket) if fault == "too long" else engine.ensure()
    assert str(folder) in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "127.0.0.1:0"], "needs --token-file"),
        (["--listen", "8012", "--token-file", "t"], "HOST:PORT"),
        (["--listen", "127.0.0.1:0", "--token-file", "none"], "cannot read"),
        (["--token-file", "none"], "for --listen"),
        (["--model", "no-such-model"], "no-such-model"),
    ],
)
def test_wrong_options_are_explained(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(engine_command, [*arguments])
    assert result.exit_code != 0
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_short_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    result = CliRunner().invoke(engine_command, ["--listen", "127.0.0.1:0", "--token-file", str(tmp_path / "token")])
    assert "16 or more" in result.output
