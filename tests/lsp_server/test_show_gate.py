"""The gate's probability: in bounds, and every sign as the evidence has it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holefill.context.check import Checked, Kind, Problem
from holefill.context.items import CharOffset
from holefill.lsp_server.judge import Judged, Option
from holefill.lsp_server.show_gate import GATE

WRONG = Judged(
    Option("x", 0.0), Checked((Problem(Kind.NAME, "unknown", "x", CharOffset(0), CharOffset(1)),), checked=True)
)


@given(st.text(max_size=300), st.floats(-1e6, 0))
def test_it_is_a_probability(text: str, logprob: float) -> None:
    assert 0 <= GATE.probability(text, logprob, WRONG) <= GATE.probability(text, logprob) <= 1


@given(st.integers(1, 200), st.floats(-5, -0.01))
def test_surer_and_shorter_is_kept_more(length: int, logprob: float) -> None:
    p = GATE.probability("x" * length, logprob)
    assert GATE.probability("x" * length, logprob / 2) > p
    assert GATE.probability("x" * (length + 1), logprob) < p


def test_a_sure_short_one_is_shown_and_an_unsure_long_one_is_not() -> None:
    assert GATE.probability("append(item)", -0.05) > 0.5
    assert GATE.probability("x" * 200, -1.0) < 0.05
