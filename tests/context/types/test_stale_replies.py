"""An answer of before a change of another document is not given after it, whenever the change came."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.types.lsp_oracle import LspOracle
from holefill.context.types.oracle import Answer, Hole, Source
from holefill.context.types.probes import Probe
from holefill.context.types.session import Session
from holefill.context.types.specs import python_spec
from holefill.context.types.transport import Json
from tests.context.types.conftest import hole_in

HOLE = hole_in(Cursor("/w/a.py", "x = f()\n", CharOffset(5), "python", "/w")).hole


class Counted(LspOracle):
    """Without a child: what is sent is counted, and answered by its number."""

    def __init__(self) -> None:
        spec = python_spec(None, ("none",))
        assert spec is not None
        super().__init__(spec, "/w")
        self.sent: list[tuple[str, ...]] = []
        self.during: Callable[[], None] = lambda: None

    def _sent(
        self, session: Session, methods: tuple[str, ...], hole: Hole, probe: Probe, deadline: Deadline
    ) -> tuple[Json, ...]:
        self.sent.append(methods)
        self.during()
        return (len(self.sent),)

    def _show_mirrors(self, session: Session) -> None:
        pass


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Counted:
    found = Counted()
    monkeypatch.setattr(found._keeper, "session", lambda wait_s=0.0: object())
    return found


def asked(oracle: Counted) -> int:
    def ask(session: Session) -> Answer[Json]:
        return Answer(oracle._ask(session, "m", HOLE, Probe(HOLE.text, 4), Deadline.after_ms(1e6)), Source.ORACLE)

    found = oracle._answer(ask, Deadline.after_ms(1e6)).value
    assert isinstance(found, int)
    return found


def test_the_same_question_is_sent_once(oracle: Counted) -> None:
    assert [asked(oracle), asked(oracle)] == [1, 1]


def test_after_a_change_it_is_sent_again(oracle: Counted) -> None:
    asked(oracle)
    oracle.sync("/w/b.py", "y = 1\n")
    assert asked(oracle) == 2


def test_a_change_while_the_answer_is_under_way_counts(oracle: Counted) -> None:
    oracle.during = lambda: oracle.sync("/w/b.py", "y = 1\n")
    assert asked(oracle) == 1
    oracle.during = lambda: None
    assert [asked(oracle), asked(oracle)] == [2, 2]
