"""Every way a checker has failed us, or could: the answer still comes, from the floor, and in time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.types.holes import hole_at
from holefill.context.types.keeper import Limits
from holefill.context.types.layered import Layered, Pace
from holefill.context.types.lsp_oracle import LspOracle
from holefill.context.types.oracle import Cap, Hole, Source
from holefill.context.types.specs import python_spec
from holefill.context.types.transport import Child, Json

FAKE = Path(__file__).parent / "fake_checker.py"
LIMITS = Limits(start_s=5.0, hang_s=0.3, backoff_s=(0.05, 0.05, 0.05))
TEXT = "def take(a: int, b: str) -> None: ...\ntake(1, ▮)\n"


class Start(Protocol):
    def __call__(self, mode: str, limits: Limits = LIMITS, command: tuple[str, ...] | None = None) -> LspOracle: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    oracles: list[LspOracle] = []

    def make(mode: str, limits: Limits = LIMITS, command: tuple[str, ...] | None = None) -> LspOracle:
        spec = python_spec(None, command or (sys.executable, "-S", str(FAKE), mode))
        assert spec is not None
        oracle = LspOracle(spec, str(tmp_path), limits)
        oracles.append(oracle)
        oracle.warm_up()
        settle(oracle)
        return oracle

    yield make
    for oracle in oracles:
        oracle.close()


def settle(oracle: LspOracle, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while oracle.reason == "starting" and time.monotonic() < until:
        time.sleep(0.01)


def wait_for(oracle: LspOracle, reason: str, seconds: float = 10.0) -> None:
    """Asks on, as keystrokes do, until the oracle is in the state."""
    until = time.monotonic() + seconds
    while oracle.reason != reason and time.monotonic() < until:
        oracle.warm_up()
        time.sleep(0.01)
    assert oracle.reason == reason


def layered(oracle: LspOracle, root: Path) -> Layered:
    return Layered(WorkspaceIndex(root), oracle)


def hole(root: Path, text: str = TEXT) -> Hole:
    cursor = Cursor(str(root / "case.py"), text.replace("▮", ""), CharOffset(text.index("▮")), "python", str(root))
    found = hole_at(cursor)
    assert found is not None
    return found.hole


def test_all_recipes_pass_the_self_test(start: Start, tmp_path: Path) -> None:
    oracle = start("good")
    assert oracle.caps == frozenset(Cap)
    answer = oracle.expected_type(hole(tmp_path), Deadline.after_ms(2000))
    assert answer.value is not None
    assert (answer.value.text, answer.source) == ("str", Source.HOVER)


BROKEN = [
    *("exit", "exit-in-message", "rubbish", "bad-json", "no-object"),
    *("oversized", "negative", "long-line", "hang"),
]


@pytest.mark.parametrize("mode", BROKEN)
def test_a_broken_child_is_replaced_and_then_given_up(start: Start, tmp_path: Path, mode: str) -> None:
    oracle = start(mode)
    layers = layered(oracle, tmp_path)
    pids = set()
    for _ in range(len(LIMITS.backoff_s) + 1):
        wait_for(oracle, "")
        pids.add(oracle.child_pid)
        answer = layers.expected_type(hole(tmp_path), Deadline.after_ms(2000))
        assert answer.value is not None
        assert answer.value.text == "str"
        assert answer.source is Source.FLOOR
    assert len(pids) == 4
    wait_for(oracle, "gave up")
    oracle.warm_up()
    assert oracle.caps == frozenset()
    for pid in pids:
        until = time.monotonic() + 5
        while alive(pid) and time.monotonic() < until:
            time.sleep(0.01)
        assert not alive(pid)


def alive(pid: int | None) -> bool:
    try:
        os.kill(pid or 0, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("mode", ["exit-at-start", "hang-at-start"])
def test_a_child_that_never_comes_up(start: Start, tmp_path: Path, mode: str) -> None:
    oracle = start(mode, replace(LIMITS, start_s=0.2))
    wait_for(oracle, "gave up")
    assert layered(oracle, tmp_path).expected_type(hole(tmp_path), Deadline.after_ms(50)).source is Source.FLOOR


def test_no_such_program(start: Start, tmp_path: Path) -> None:
    oracle = start("", command=("/nowhere/ty", "server"))
    wait_for(oracle, "gave up")
    assert layered(oracle, tmp_path).signatures(hole(tmp_path), Deadline.after_ms(50)).value is not None


def test_a_slow_child_costs_no_more_than_the_deadline_and_answers_the_next_key(start: Start, tmp_path: Path) -> None:
    layers = layered(start("slow"), tmp_path)
    first = layers.expected_type(hole(tmp_path), Deadline.after_ms(30))
    assert first.source is Source.FLOOR  # waited for, the child would have answered after 0.5 s
    time.sleep(0.6)
    second = layers.expected_type(hole(tmp_path, TEXT.replace("▮", "nam▮")), Deadline.after_ms(30))
    assert second.source is Source.HOVER


def test_a_patient_first_question_waits_for_the_start(tmp_path: Path) -> None:
    spec = python_spec(None, (sys.executable, "-S", str(FAKE), "good"))
    assert spec is not None
    oracle = LspOracle(spec, str(tmp_path), LIMITS)
    try:
        assert oracle.expected_type(hole(tmp_path), Deadline.after_ms(1)).reason == "starting"
        assert oracle.expected_type(hole(tmp_path), Deadline.after_ms(10_000)).value is not None
    finally:
        oracle.close()


def test_unknown_is_said_to_be_unknown(start: Start, tmp_path: Path) -> None:
    layers = layered(start("unknown"), tmp_path)
    answer = layers.expected_type(hole(tmp_path, "unheard_of(▮)\n"), Deadline.after_ms(2000))
    assert (answer.value, answer.reason) == (None, "unknown")


def test_a_recipe_broken_by_an_upgrade_is_dropped_alone(start: Start, tmp_path: Path) -> None:
    oracle = start("no-hover")
    assert oracle.caps == frozenset(Cap) - {Cap.HOVER, Cap.DEFINITION}
    answer = oracle.expected_type(hole(tmp_path), Deadline.after_ms(2000))
    assert answer.value is not None
    assert answer.source is Source.SIGNATURE
    assert Cap.REVEAL not in start("no-reveal").caps


def test_error_replies_are_unknown_answers(start: Start, tmp_path: Path) -> None:
    oracle = start("errors")
    assert oracle.members(hole(tmp_path, "name = 'x'\nname.▮\n"), Deadline.after_ms(2000)).value is None
    assert oracle.reason == ""


def test_the_child_s_own_questions_are_answered(start: Start, tmp_path: Path) -> None:
    oracle = start("questions")
    assert oracle.expected_type(hole(tmp_path), Deadline.after_ms(2000)).value is not None
    assert oracle.reason == ""


def test_too_much_memory_ends_the_child(start: Start, tmp_path: Path) -> None:
    oracle = start("good", replace(LIMITS, max_rss_bytes=1))
    for _ in range(64):
        oracle.expected_type(hole(tmp_path), Deadline.after_ms(2000))
        if oracle.reason:
            break
    assert oracle.reason == "crashed"


def test_the_same_question_is_asked_once_until_a_document_changes(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = start("good")
    asked: list[tuple[str, ...]] = []
    send = Child.request_all

    def counted(child: Child, methods: tuple[str, ...], params: Json, timeout_s: float) -> tuple[Json, ...]:
        asked.append(methods)
        return send(child, methods, params, timeout_s)

    monkeypatch.setattr(Child, "request_all", counted)
    for _ in range(2):
        assert oracle.expected_type(hole(tmp_path), Deadline.after_ms(5000)).value is not None
    assert asked == [("textDocument/hover", "textDocument/typeDefinition")]
    oracle.sync(str(tmp_path / "other.py"), "x = 1\n")
    oracle.expected_type(hole(tmp_path), Deadline.after_ms(5000))
    assert len(asked) == 2


@pytest.mark.parametrize("text", ["if ▮:\n    pass\n", "for x in ▮:\n    pass\n", "def f():\n    return ▮\n"])
def test_where_nothing_is_wanted_nothing_is_asked(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    oracle = start("good")
    monkeypatch.setattr(Child, "request_all", lambda *_: pytest.fail("asked"))
    answer = oracle.expected_type(hole(tmp_path, text), Deadline.after_ms(5000))
    assert (answer.value, answer.reason) == (None, "unknown")


def test_an_expired_deadline_asks_nothing(start: Start, tmp_path: Path) -> None:
    answer = start("good").expected_type(hole(tmp_path), Deadline.after_ms(0))
    assert (answer.value, answer.reason) == (None, "deadline")


def test_pace_backs_off_and_comes_back() -> None:
    pace = Pace()
    for _ in range(5):
        assert pace.allows()
        pace.met(False)
    assert [pace.allows() for _ in range(8)] == [False, False, False, True, False, False, False, True]
    pace.met(True)
    assert pace.allows()


@pytest.mark.parametrize(
    ("text", "checked"),
    [
        ("x = {'a': ▮}\n", False),
        ("def f():\n    return [▮]\n", False),
        ("def f() -> list[int]:\n    return [▮]\n", True),
        ("x: dict[str, int]\nx = {'a': ▮}\n", True),
        ("unheard_of([▮])\n", True),
    ],
)
def test_the_whole_file_is_checked_only_where_a_type_stands_around(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, checked: bool
) -> None:
    oracle = start("unknown")
    asked: list[str] = []
    send = Child.request_all

    def counted(child: Child, methods: tuple[str, ...], params: Json, timeout_s: float) -> tuple[Json, ...]:
        asked.extend(methods)
        return send(child, methods, params, timeout_s)

    monkeypatch.setattr(Child, "request_all", counted)
    assert oracle.expected_type(hole(tmp_path, text), Deadline.after_ms(5000)).value is None
    assert ("textDocument/diagnostic" in asked) == checked
