"""Providers in parallel under one deadline: slow, failing, and late ones."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Protocol

import pytest

from holefill.context.gather import Gatherer
from holefill.context.items import CharOffset, Cursor, Item, Pack
from holefill.context.provider import ContextProvider, Deadline
from tests.context.conftest import ToyTokenizer

CURSOR = Cursor("/w/a.py", "x = ", CharOffset(4), "python", "/w")


class Fake:
    def __init__(
        self, name: str, text: str = "", wait: threading.Event | None = None, error: Exception | None = None
    ) -> None:
        self.name, self.text, self.wait, self.error = name, text or f"def {name}(): ...", wait, error
        self.calls = 0

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        self.calls += 1
        if self.wait is not None:
            self.wait.wait(60)
        if self.error is not None:
            raise self.error
        return [Item(self.text, self.name)]


class MakeGatherer(Protocol):
    def __call__(
        self, *providers: ContextProvider, admits: Callable[[Item], bool] | None = None, rest_s: float = 0.3
    ) -> Gatherer: ...


@pytest.fixture
def gatherer(tokenizer: ToyTokenizer) -> Iterator[MakeGatherer]:
    made: list[Gatherer] = []

    def make(
        *providers: ContextProvider, admits: Callable[[Item], bool] | None = None, rest_s: float = 0.3
    ) -> Gatherer:
        made.append(Gatherer(providers, tokenizer, admits, rest_s))
        return made[-1]

    yield make
    for one in made:
        one.close()


@dataclass(frozen=True, slots=True)
class Answered(Deadline):
    """A deadline that passes once these providers have answered, however long they take."""

    gather: Gatherer
    names: tuple[str, ...]

    def remaining_ms(self) -> float:
        futures.wait([self.gather._running[name] for name in self.names])
        return 0.0


def answered(gather: Gatherer, *names: str) -> Deadline:
    return Answered(math.inf, gather, names)


LONG = Deadline.after_ms(1e9)


def sources(pack: Pack) -> list[str]:
    return [item.source for item in pack.items]


def test_a_slow_provider_does_not_delay_and_serves_the_next_key(gatherer: MakeGatherer) -> None:
    gate = threading.Event()
    slow, fast = Fake("slow", wait=gate), Fake("fast")
    gather = gatherer(fast, slow)
    first = gather(CURSOR, 500, answered(gather, "fast"))
    assert sources(first) == ["fast"]
    assert "slow" not in first.provider_ms
    assert first.provider_ms["fast"] >= 0
    # Still busy: asked again, but its work is not piled up.
    assert sources(gather(CURSOR, 500, answered(gather, "fast"))) == ["fast"]
    when(lambda: slow.calls == 1)
    gate.set()
    when(gather._running["slow"].done)
    assert slow.calls == 1
    assert sources(gather(CURSOR, 500, answered(gather, "fast"))) == ["fast", "slow"]


def test_late_items_of_another_file_are_not_used(gatherer: MakeGatherer) -> None:
    gate = threading.Event()
    gather = gatherer(Fake("slow", wait=gate))
    gather(CURSOR, 500, answered(gather))
    gate.set()
    when(gather._running["slow"].done)
    gate.clear()
    other = Cursor("/w/b.py", "y = ", CharOffset(4), "python", "/w")
    assert sources(gather(other, 500, answered(gather))) == []
    gate.set()


def test_a_failing_provider_costs_only_its_items(gatherer: MakeGatherer, caplog: pytest.LogCaptureFixture) -> None:
    gather = gatherer(Fake("bad", error=RuntimeError("secret text")), Fake("good"))
    assert sources(gather(CURSOR, 500, LONG)) == ["good"]
    assert "bad" in caplog.text
    assert "secret text" not in caplog.text


def test_no_providers(gatherer: MakeGatherer) -> None:
    assert gatherer()(CURSOR, 500, LONG).items == ()


def test_the_pack_is_sticky_per_file(gatherer: MakeGatherer) -> None:
    first, second = Fake("one"), Fake("two")
    gather = gatherer(first, second)
    before = sources(gather(CURSOR, 500, LONG))
    assert sources(gather(CURSOR, 500, LONG)) == before == ["one", "two"]


def when(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.002)
    assert condition()


def rest(gather: Gatherer) -> None:
    """The pause that real time would make, at the test's own moment."""
    assert gather._resting is not None
    gather._resting.due = 0.0
    gather._rested()


def test_without_a_budget_facts_come_at_rest_and_nothing_waits(gatherer: MakeGatherer) -> None:
    secret = Fake("secret", text='token = "ghp_' + "a1" * 20 + '"')
    gate = threading.Event()
    slow = Fake("slow", wait=gate)
    gather = gatherer(secret, slow, rest_s=3600.0)
    assert gather(CURSOR, 0, LONG).facts == ()
    assert secret.calls == slow.calls == 0
    rest(gather)
    when(lambda: gather(CURSOR, 0, LONG).facts)
    pack = gather(CURSOR, 0, LONG)
    assert pack.items == ()
    assert [item.source for item in pack.facts] == ["secret"]
    assert "a1a1" not in pack.facts[0].text
    when(lambda: slow.calls == 1)
    gate.set()
    when(lambda: len(gather(CURSOR, 0, LONG).facts) == 2)
    assert gather(Cursor("/w/b.py", "x = ", CharOffset(4), "python", "/w"), 0, LONG).facts == ()


def test_typing_puts_the_rest_off_and_the_newest_cursor_is_asked(gatherer: MakeGatherer) -> None:
    asked: list[CharOffset] = []

    class Seen(Fake):
        def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
            asked.append(cursor.offset)
            return []

    gather = gatherer(Seen("seen"), rest_s=3600.0)
    for offset in (1, 2, 3):
        gather(Cursor("/w/a.py", "x = ", CharOffset(offset), "python", "/w"), 0, LONG)
    assert asked == []
    rest(gather)
    when(lambda: asked == [3])


def test_the_prompt_shows_what_the_policy_admits_and_the_facts_hold_everything(gatherer: MakeGatherer) -> None:
    gather = gatherer(Fake("one"), Fake("two"), admits=lambda item: item.source == "two")
    pack = gather(CURSOR, 500, LONG)
    assert sources(pack) == ["two"]
    assert [item.source for item in pack.facts] == ["one", "two"]
