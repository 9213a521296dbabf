"""Programs a model wrote: judged, limited, and without a network."""

from __future__ import annotations

import pytest

from holefill.evaluation.sandbox import isolation, network_note, run_program


@pytest.mark.parametrize(
    ("program", "passed", "reason"),
    [
        ("assert 1 + 1 == 2", True, ""),
        ("assert 1 + 1 == 3", False, "AssertionError"),
        ("import time\nwhile True: time.sleep(1)", False, "timeout"),
        ("while True: pass", False, ""),
        ("x = bytearray(3 << 30)", False, "MemoryError"),
        ("def f(:", False, "SyntaxError"),
        ("import sys; sys.exit(3)", False, "exit status 3"),
        ("open('big', 'wb').write(b'x' * (4 << 20))", False, "File too large"),
    ],
)
def test_verdicts(program: str, passed: bool, reason: str) -> None:
    verdict = run_program(program, time_limit_s=0.7)
    assert verdict.passed is passed
    assert reason in verdict.reason


def test_there_is_no_network() -> None:
    if not isolation():
        assert network_note()
        pytest.skip(network_note())
    program = "import socket\nassert [name for _, name in socket.if_nameindex()] == ['lo']\n"
    assert run_program(program).passed


def test_children_go_with_the_program() -> None:
    program = "import os, time\nif os.fork() == 0:\n    while True: time.sleep(1)\n"
    assert run_program(program, time_limit_s=0.5).reason in ("", "timeout")
