"""A small workspace of two files, and the real engine with the real model, loaded before an editor starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HOLEFILL = Path(sys.executable).with_name("holefill")

INVENTORY = '''\
from dataclasses import dataclass


@dataclass
class Shelf:
    sku: str
    quantity: int

    def put_on_hold(self, quantity: int) -> None:
        """Set goods aside for a customer."""
        self.quantity -= quantity
'''
CHECKOUT = """\
from inventory import Shelf


def reserve(shelf: Shelf, quantity: int) -> None:
    shelf.put_on_hold(quantity)


def add(a: int, b: int) -> int:
    \"\"\"Return the sum of a and b.\"\"\"
    return a \n

def subtract(a: int, b: int) -> int:
    \"\"\"Return the difference of a and b.\"\"\"
    return a - b
"""
"""Line 10 lacks one key: a single keystroke makes a single request, so no earlier ghost text is in the way."""


@dataclass(frozen=True)
class WarmEngine:
    model: Path
    runtime: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOLEFILL_RUNTIME_DIR": str(self.runtime)}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "inventory.py").write_text(INVENTORY)
    (folder / "checkout.py").write_text(CHECKOUT)
    return folder


@pytest.fixture(scope="session")
def warm_engine(default_model_path: Path) -> Iterator[WarmEngine]:
    """An engine of our own on the socket where the editor's server looks for one."""
    from holefill.model.serving.launch import LaunchOptions, LocalEngine, socket_path

    with tempfile.TemporaryDirectory(prefix="holefill-", dir="/tmp") as folder:  # a socket's path has 107 bytes
        runtime = Path(folder)
        socket = socket_path(str(default_model_path), folder=runtime)
        command = [str(HOLEFILL), "engine", "--model", str(default_model_path), "--socket", str(socket)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                while not socket.exists():
                    assert process.poll() is None, "the engine ended at its start; run `holefill doctor`"
                    time.sleep(0.05)
                engine = LocalEngine(LaunchOptions(str(default_model_path), runtime_dir=runtime))
                engine.ensure()
                engine.close()
                yield WarmEngine(default_model_path, runtime)
            finally:
                process.terminate()
