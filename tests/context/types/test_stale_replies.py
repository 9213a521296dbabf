"""An answer of before a change of another document is not given after it, whenever the change came."""

from __future__ import annotations

import pytest

from holefill.context.items import Cursor
from holefill.context.provider import Deadline
from holefill.context.types.holes import hole_at
from holefill.context.types.lsp_oracle import LspOracle
from holefill.context.types.oracle import Answer, Source
from holefill.context.types.probes import Probe
from holefill.context.types.specs import python_spec

HOLE = hole_at(Cursor("/w/a.py", "x = f()\n", 5, "python", "/w")).hole


@pytest.fixture
def oracle(monkeypatch):
    """Without a child: what is sent is counted, and answered by its number."""
    found = LspOracle(python_spec(None, ("none",)), "/w")
    found.sent = []
    found.during = lambda: None

    def sent(session, methods, hole, probe, deadline):
        found.sent.append(methods)
        found.during()
        return (len(found.sent),)

    monkeypatch.setattr(found, "_sent", sent)
    monkeypatch.setattr(found, "_show_mirrors", lambda session: None)
    monkeypatch.setattr(found._keeper, "session", lambda wait_s=0.0: object())
    return found


def asked(oracle) -> int:
    def ask(session):
        return Answer(oracle._ask(session, "m", HOLE, Probe(HOLE.text, 4), Deadline.after_ms(1e6)), Source.ORACLE)

    return oracle._answer(ask, Deadline.after_ms(1e6)).value


def test_the_same_question_is_sent_once(oracle):
    assert [asked(oracle), asked(oracle)] == [1, 1]


def test_after_a_change_it_is_sent_again(oracle):
    asked(oracle)
    oracle.sync("/w/b.py", "y = 1\n")
    assert asked(oracle) == 2


def test_a_change_while_the_answer_is_under_way_counts(oracle):
    oracle.during = lambda: oracle.sync("/w/b.py", "y = 1\n")
    assert asked(oracle) == 1
    oracle.during = lambda: None
    assert [asked(oracle), asked(oracle)] == [2, 2]
