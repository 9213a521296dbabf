"""The stop rule: what ends an answer, where the cut lies, and that the split of the stream does not matter."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.model.request import FinishReason, Shape, StopSpec
from holefill.model.stops import StopRule, StopState


def run(text: str, spec: StopSpec, *, ended: bool = True) -> StopState:
    rule = StopRule(spec)
    state = rule.feed(text)
    return rule.finish() if ended else state


STATEMENT = StopSpec(Shape.STATEMENT)
BLOCK4 = StopSpec(Shape.BLOCK, indent=4)
HEAD4 = StopSpec(Shape.STATEMENT, indent=4, head=":", next_indent=4)


@pytest.mark.parametrize(
    ("spec", "text", "answer", "reason"),
    [
        # shapes
        (StopSpec(), "a\n\nb\n", "a\n\nb\n", None),
        (StopSpec(Shape.LINE), "a + 1\nb", "a + 1", FinishReason.SHAPE),
        (StopSpec(Shape.LINE), "\n\n  a\nb", "\n\n  a", FinishReason.SHAPE),
        (StopSpec(Shape.LINE), "f(\n1)", "f(", FinishReason.SHAPE),
        (STATEMENT, "x = f(\n    1,\n)\ny = 2", "x = f(\n    1,\n)", FinishReason.SHAPE),
        (STATEMENT, "\n    return x\n    more", "\n    return x", FinishReason.SHAPE),
        (STATEMENT, "a + \\\n  b\nc", "a + \\\n  b", FinishReason.SHAPE),
        (STATEMENT, 's = """(\n[\n"""\nc', 's = """(\n[\n"""', FinishReason.SHAPE),
        (STATEMENT, "s = '('\nc", "s = '('", FinishReason.SHAPE),
        (STATEMENT, "s = '\\'('\nc", "s = '\\'('", FinishReason.SHAPE),
        (STATEMENT, 's = "" + "("\nc', 's = "" + "("', FinishReason.SHAPE),
        (STATEMENT, "x = 1  # (\nc", "x = 1  # (", FinishReason.SHAPE),
        (StopSpec(Shape.STATEMENT, line_comment="//"), "x = 1; // (\nc", "x = 1; // (", FinishReason.SHAPE),
        (StopSpec(Shape.STATEMENT, line_comment="//"), "x /* ( \n */ = 1;\nc", "x /* ( \n */ = 1;", FinishReason.SHAPE),
        (StopSpec(Shape.STATEMENT, line_comment="//"), "f<'a>(x: &'a str)\nc", "f<'a>(x: &'a str)", FinishReason.SHAPE),
        (StopSpec(Shape.STATEMENT, line_comment="//"), "`(\n`;\nc", "`(\n`;", FinishReason.SHAPE),
        # a head and its block
        (HEAD4, "x:\n        a\n        b\n    c", "x:\n        a\n        b", FinishReason.SHAPE),
        (HEAD4, "x:  # why\n        a\n\n        b", "x:  # why\n        a", FinishReason.SHAPE),
        (HEAD4, "\n    if x:\n        a\n    b", "\n    if x:\n        a", FinishReason.SHAPE),
        (HEAD4, "x = {1:\n 2}\n    b", "x = {1:\n 2}", FinishReason.SHAPE),
        (HEAD4, "x = ':'  # :\n    b", "x = ':'  # :", FinishReason.SHAPE),
        (replace(HEAD4, next_indent=8), "x:\n        a\n    c", "x:", FinishReason.SHAPE),
        (replace(HEAD4, head=""), "x:\n        a\n    c", "x:", FinishReason.SHAPE),
        (BLOCK4, "a = 1\n    b = 2\n\n    c", "a = 1\n    b = 2", FinishReason.SHAPE),
        (BLOCK4, "a = 1\n    if b:\n        c\n  d", "a = 1\n    if b:\n        c", FinishReason.SHAPE),
        (BLOCK4, "\n\n    a\n   \n    b", "\n\n    a", FinishReason.SHAPE),
        # lines of the suffix
        (StopSpec(suffix_lines=("return total",)), "a\n    return total\nb", "a", FinishReason.SUFFIX_LINE),
        (StopSpec(suffix_lines=("return total",)), "a\n    return total", "a", FinishReason.SUFFIX_LINE),
        (StopSpec(suffix_lines=("return total",)), "a\nreturn total + 1", "a\nreturn total + 1", None),
        (StopSpec(suffix_lines=("x", "return y")), "a\nreturn y\n", "a", FinishReason.SUFFIX_LINE),
        (StopSpec(suffix_lines=("x", "return y")), "\n  return y\nb", "\n  return y\nb", None),
        (StopSpec(suffix_lines=("x", "y")), "a\ny\nb", "a\ny\nb", None),
        (StopSpec(suffix_lines=("x",)), "a\nx\n", "a", FinishReason.SUFFIX_LINE),
        (StopSpec(suffix_lines=("x",)), "x\ny", "x\ny", None),  # the cursor's own line
        (StopSpec(suffix_lines=("return total",)), "return total\ny", "", FinishReason.SUFFIX_LINE),
        (StopSpec(suffix_lines=("}",)), "if (a) {\n b\n}\nc\n}\n", "if (a) {\n b\n}\nc", FinishReason.SUFFIX_LINE),
        # closing brackets the suffix supplies
        (StopSpec(closers=")"), "x, f(y)) + 1", "x, f(y)", FinishReason.CLOSER),
        (StopSpec(closers=")"), "x]) + 1", "x]", FinishReason.CLOSER),
        (StopSpec(closers="])"), "x]) + 1", "x", FinishReason.CLOSER),
        (StopSpec(closers=")"), "x, ')' # )", "x, ')' # )", None),
        (StopSpec(closers=")"), "\n    x,\n)", "\n    x,", FinishReason.CLOSER),
        (StopSpec(), "x)", "x)", None),
    ],
)  # fmt: skip
def test_rule(spec: StopSpec, text: str, answer: str, reason: FinishReason | None) -> None:
    state = run(text, spec)
    assert (state.text, state.done) == (answer, reason)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (STATEMENT, "x = f(\n1)\n"),
        (BLOCK4, "a\n    b\n\n"),
        (BLOCK4, "a\nb"),
        (StopSpec(closers=")"), "x)"),
        (StopSpec(suffix_lines=("done",)), "a\ndone\n"),
    ],
)
def test_decides_at_the_earliest_character(spec: StopSpec, text: str) -> None:
    assert run(text[:-1], spec, ended=False).done is None
    assert run(text, spec, ended=False).done is not None


def test_the_true_answer_survives_on_every_hole_of_humaneval_fim(shared_data: Path) -> None:
    """The model says exactly the missing line and runs on into the suffix: the rule finds the seam, 600 of 600."""
    with gzip.open(shared_data / "humaneval_fim.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        following = tuple(line.strip() for line in row["suffix"].split("\n") if line.strip())
        comment = "#" if row["language"] == "py" else "//"
        spec = StopSpec(Shape.STATEMENT, suffix_lines=following[:5], line_comment=comment)
        state = run(f"{row['canonical_solution']}\n{row['suffix'].lstrip()}", spec)
        assert state.text.strip() == row["canonical_solution"].strip(), row["name"]
    assert len(rows) == 600


specs = st.builds(
    StopSpec,
    shape=st.sampled_from(Shape),
    indent=st.sampled_from([0, 2, 4]),
    suffix_lines=st.lists(st.sampled_from(["a", ")", "return a", "}"]), max_size=2).map(tuple),
    closers=st.sampled_from(["", ")", "])", "}"]),
    line_comment=st.sampled_from(["#", "//", ""]),
)
code = st.lists(
    st.sampled_from([*"ab ()[]{}\"'`\\\n#/*", "\n    ", "\n  ", "return a", '"""', "//", "\n)\n", "\n}\n", " \n"]),
    max_size=30,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(specs, code, st.data())
def test_any_split_gives_the_same_answer_and_settled_text_stays(spec: StopSpec, text: str, data: st.DataObject) -> None:
    whole = run(text, spec)
    rule, at, settled = StopRule(spec), 0, ""
    while at < len(text):
        size = data.draw(st.integers(1, 5))
        state = rule.feed(text[at : at + size])
        assert state.text[: state.settled].startswith(settled), "text already shown was taken back"
        settled = state.text[: state.settled]
        at += size
    end = rule.finish()
    assert (end.text, end.done) == (whole.text, whole.done)
    assert end.text.startswith(settled)
    assert text.startswith(end.text)
