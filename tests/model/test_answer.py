"""What an answer says of itself once it has ended: its end counts where the model chose it."""

from __future__ import annotations

import pytest

from holefill.model.answer import Answer
from holefill.model.request import FinishReason, GenerateRequest, Shape, StopSpec, Timing
from holefill.model.tokenizer import Tokenizer

LINE = StopSpec(Shape.LINE)
SUFFIX = StopSpec(Shape.LINE, suffix_lines=("shown(total)",))


@pytest.mark.parametrize(
    ("said", "stop", "ends", "text", "end"),
    [
        ("a + b", LINE, True, "a + b", -0.25),
        ("a + b\nc", LINE, False, "a + b", 0.0),
        ("a + b", LINE, False, "a + b", 0.0),
        ("shown(total)", SUFFIX, True, "", 0.0),
    ],
)
def test_the_ends_probability_is_told_where_the_model_ended(
    byte_tokenizer: Tokenizer, said: str, stop: StopSpec, ends: bool, text: str, end: float
) -> None:
    answer = Answer(GenerateRequest((1,), max_tokens=40, stop=stop), byte_tokenizer)
    for token in byte_tokenizer.encode(said):
        if answer.finish is None:
            answer.push(token, -1.0)
    if ends:
        answer.push(next(iter(byte_tokenizer.stop_ids)), -0.25)
    answer.last(answer.finish or FinishReason.DEADLINE, Timing())
    whole = answer.whole()
    assert (whole.text, whole.end_logprob) == (text, end)
    assert whole.logprob == -1.0 * len(whole.token_ids) == -1.0 * len(text)
