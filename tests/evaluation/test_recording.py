"""One generation gives the product's answer and the text an official metric needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holefill.evaluation.recording import RecordingBackend
from holefill.model.cancel import CancelToken
from holefill.model.request import Candidate, Chunk, FinishReason, GenerateRequest, Shape, StopSpec, Timing
from holefill.model.stops import StopRule
from tests.evaluation.conftest import MakeSystem

REQUEST = GenerateRequest((1, 2), stop=StopSpec(shape=Shape.LINE, suffix_lines=("return z",)))


class Says:
    """An engine that says ``text`` in pieces of ``size``."""

    model_name = "says"

    def __init__(self, text: str, size: int = 1, finish: FinishReason = FinishReason.LENGTH) -> None:
        self.text, self.size, self.finish, self.said = text, size, finish, 0

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        assert request.stop == StopSpec()  # nothing may be cut before both views are complete
        for start in range(0, len(self.text), self.size):
            if cancel.is_set():
                yield Chunk("", finish=FinishReason.CANCELLED, timing=Timing())
                return
            self.said = min(len(self.text), start + self.size)
            yield Chunk(self.text[start : start + self.size], (1,), (-1.0,))
        yield Chunk("", finish=self.finish, timing=Timing())

    def close(self) -> None:
        pass


def run(engine: Says, complete: Callable[[str], bool]) -> tuple[Chunk, str]:
    backend = RecordingBackend(engine, complete)
    (chunk,) = backend.generate(REQUEST, CancelToken())
    return chunk, backend.generated


def test_the_product_stops_at_the_suffix_line_and_the_official_text_goes_on() -> None:
    engine = Says("\n    return z\n    more\nmore")
    chunk, generated = run(engine, lambda text: text.count("\n") >= 3)
    assert chunk.text == ""
    assert chunk.finish is FinishReason.SUFFIX_LINE
    assert generated == "\n    return z\n    more\n"
    assert engine.said == len(generated)  # decoding ended there


def test_a_stop_token_is_a_natural_stop() -> None:
    chunk, generated = run(Says("x + 1", finish=FinishReason.STOP_TOKEN), lambda text: False)
    assert (chunk.text, chunk.finish, generated) == ("x + 1", FinishReason.STOP_TOKEN, "x + 1")


def test_without_the_products_rule_the_model_ends_the_answer() -> None:
    said = "abc\n    return z\nmore"
    backend = RecordingBackend(Says(said, finish=FinishReason.STOP_TOKEN), lambda text: True, stop_rule=False)
    (chunk,) = backend.generate(REQUEST, CancelToken())
    assert (chunk.text, chunk.finish) == (said, FinishReason.STOP_TOKEN)


def test_the_product_may_need_more_than_the_official_rule() -> None:
    engine = Says("abc\ndef")
    chunk, _ = run(engine, lambda text: True)
    assert chunk.text == "abc"
    assert engine.said == 4


@given(st.text(alphabet="ab \n()", max_size=30), st.integers(1, 4))
def test_the_answer_is_that_of_the_engine_under_the_stop_rule(text: str, size: int) -> None:
    rule = StopRule(REQUEST.stop)
    state = rule.feed(text)
    chunk, _ = run(Says(text, size), lambda _: False)
    assert chunk.text == state.text
    assert chunk.finish is (state.done or FinishReason.LENGTH)


@pytest.mark.parametrize("cancelled", [True])
def test_the_callers_cancel_reaches_the_engine(system: MakeSystem, cancelled: bool) -> None:
    cancel = CancelToken()
    backend = RecordingBackend(system(lambda _: "abcdef").backend, lambda _: False)
    cancel.cancel()
    (chunk,) = backend.generate(GenerateRequest((1,), prompt_text="p"), cancel)
    assert chunk.finish is FinishReason.CANCELLED


class Branches(Says):
    """One that also says what else it might have said, as the engine does: under the request's own rule."""

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        if request.alternatives == 0:
            yield from super().generate(request, cancel)
            return
        assert request.stop == REQUEST.stop
        first, other = Candidate("x", -1.0, (1,)), Candidate("y", -2.0, (2,))
        yield Chunk("x", (1,), (-1.0,), FinishReason.STOP_TOKEN, Timing(), (first, other))


def test_other_answers_are_generated_under_the_products_rule() -> None:
    backend = RecordingBackend(Branches("x\n    return z\nmore"), lambda text: text.count("\n") >= 2)
    (chunk,) = backend.generate(replace(REQUEST, alternatives=1), CancelToken())
    assert [candidate.text for candidate in chunk.candidates] == ["x", "y"]
    assert backend.whole("x") == "x\n    return z\n"
    assert backend.whole("y") == "y"  # not the text of the first
    (alone,) = backend.generate(REQUEST, CancelToken())
    assert alone.candidates == ()


def test_an_engine_that_heals_heals_recorded_too() -> None:
    class Heals(Says):
        heals = True

    assert not RecordingBackend(Says("x"), lambda text: True).heals
    assert RecordingBackend(Heals("x"), lambda text: True).heals


def test_what_a_repair_keeps_is_measured_without_the_word_the_user_typed() -> None:
    """The first prompt leaves the word out; behind kept text it is part of the next prompt."""
    backend = RecordingBackend(Says("unt()"), lambda text: True)
    list(backend.generate(replace(REQUEST, prompt_text="<shelf.", typed="co"), CancelToken()))
    repaired = replace(REQUEST, prompt_ids=(1, 2, 3), prompt_text="<shelf.count(", typed="")
    (chunk,) = backend.generate(repaired, CancelToken())
    assert backend.whole("unt(" + chunk.text) == "unt(" + backend.generated[len("unt(") :]
    assert backend.generated == "unt(unt()"
