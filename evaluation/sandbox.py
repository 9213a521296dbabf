"""Run a program that a model wrote: own process, no network, limits on memory, CPU and wall time.

The network goes away with ``unshare`` (a user and a network namespace of its own) where the kernel allows it;
``network_note`` says why where it does not.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TIME_LIMIT_S = 3.0
_MEMORY_BYTES = 1 << 30
_FILE_BYTES = 1 << 20
_PROCESSES = 32
_START_S = 2.0  # of the interpreter, on a busy machine; not the program's
_BOOTSTRAP = f"""
import resource, sys
limits = dict(AS={_MEMORY_BYTES}, FSIZE={_FILE_BYTES}, CORE=0, NPROC={_PROCESSES}, CPU=%d)
for limit, value in limits.items():
    resource.setrlimit(getattr(resource, "RLIMIT_" + limit), (value, value))
with open(sys.argv[1], encoding="utf-8") as file:
    code = compile(file.read(), "program.py", "exec")
sys.stdin.close()
exec(code, {{"__name__": "__main__"}})
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    passed: bool
    reason: str = ""
    """Empty when it passed; else ``timeout`` or the last line of the error."""


@functools.cache
def isolation() -> tuple[str, ...]:
    """The command that takes the network away; empty where it cannot be run."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    command = (unshare, "--user", "--map-root-user", "--net")
    works = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if works else ()


def network_note() -> str:
    """Empty when programs run without network; else the reason they do not."""
    if isolation():
        return ""
    return "programs can reach the network: unshare is missing or the kernel forbids user namespaces"


def run_program(program: str, time_limit_s: float = TIME_LIMIT_S) -> Verdict:
    """Passed means: exit status 0 within the limits."""
    with tempfile.TemporaryDirectory(prefix="holefill-sandbox-") as folder:
        file = Path(folder) / "program.py"
        file.write_text(program, encoding="utf-8", errors="surrogatepass")
        bootstrap = _BOOTSTRAP % (int(time_limit_s) + 1)
        process = subprocess.Popen(
            [*isolation(), sys.executable, "-I", "-S", "-c", bootstrap, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={"PATH": os.defpath, "HOME": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,
        )
        try:
            _, errors = process.communicate(timeout=time_limit_s + _START_S)
        except subprocess.TimeoutExpired:
            return Verdict(False, "timeout")
        finally:
            _kill(process)
    if process.returncode == 0:
        return Verdict(True)
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return Verdict(False, lines[-1][:200] if lines else f"exit status {process.returncode}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The whole group: children the program started go with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
