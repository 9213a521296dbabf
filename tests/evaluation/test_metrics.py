"""Golden values of every metric."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holefill.evaluation.metrics.bootstrap import mean_interval, paired_difference
from holefill.evaluation.metrics.brackets import argument_end, statement_end, unmatched_closer
from holefill.evaluation.metrics.edit_similarity import edit_similarity
from holefill.evaluation.metrics.exact_match import exact_match
from holefill.evaluation.metrics.first_line import first_line, first_line_complete
from holefill.evaluation.metrics.identifiers import id_exact_match, id_f1, identifiers, named_share
from holefill.evaluation.metrics.latency import in_window_share, percentile
from holefill.evaluation.metrics.members import identifier_sequence_match, next_identifier_match, prefix_match
from holefill.evaluation.metrics.pass_at_k import pass_at_k
from holefill.evaluation.metrics.persistence import persistence, prefix_kept
from holefill.evaluation.metrics.ranking import hit_at, reciprocal_rank
from holefill.evaluation.metrics.replay_cut import cut_to_hole
from holefill.evaluation.metrics.retrieval import RetrievalScore, TokenSpan, precision_omega, retrieval_score
from holefill.evaluation.metrics.rouge import rouge_l
from holefill.evaluation.metrics.table import MEASURES, Gold


def test_exact_match_ignores_blank_lines_and_indentation() -> None:
    assert exact_match("  a = 1\n\n\tb = 2  ", "a = 1\nb = 2")
    assert not exact_match("a = 1\nb = 2\nc", "a = 1\nb = 2")


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [("abc", "abc", 100), ("", "abc", 0), ("", "", 100), ("trim(x)", "trim(y)", 86), (" a ", "a", 100)],
)
def test_edit_similarity_is_the_rounded_indel_ratio(prediction: str, target: str, expected: int) -> None:
    assert edit_similarity(prediction, target) == expected


@pytest.mark.parametrize(
    ("output", "line", "complete"),
    [
        ("\n    return x\n    y", "return x", True),
        (" \n  a\n", "a", True),
        ("a = 1\nb", "a = 1", True),
        ("\n    return x", "return x", False),
        ("\n\n  late", "", True),
        ("", "", False),
    ],
)
def test_first_line_follows_the_qwen_protocol(output: str, line: str, complete: bool) -> None:
    assert first_line(output) == line
    assert first_line_complete(output) is complete


@given(st.text(alphabet="\n ab", max_size=12), st.text(alphabet="\n ab", max_size=12))
def test_a_complete_first_line_never_changes(text: str, more: str) -> None:
    if first_line_complete(text):
        assert first_line(text + more) == first_line(text)


def test_identifiers_leave_out_strings_keywords_and_numbers() -> None:
    assert identifiers("return foo(\"bar\", 'x', a1) + 2 if None else foo", "python") == ["foo", "a1", "foo"]
    assert identifiers("final int x = this.y;", "java") == ["x", "y"]


def test_identifier_match_lists_and_sets() -> None:
    assert not id_exact_match("a(b, b)", "a(b)", "python")
    assert id_f1("a(b, b)", "a(b)", "python") == 1.0
    assert id_f1("a(b)", "a(c)", "python") == 0.5
    assert id_f1("1", "2", "python") == 0.0  # the official script's value for two empty sets
    assert named_share("a.b(c)", ("b", "z"), "python") == 0.5


@pytest.mark.parametrize(
    ("kind", "text", "target", "expected"),
    [
        ("line", "x = 1\ny", "x", "x = 1"),
        ("lines", "a\n\nb\nc\n", "q\nr", "a\n\nb"),
        ("statement", "f(\n  1,\n)\nmore", "f(\n1,\n)", "f(\n  1,\n)"),
        ("call", "a, (b), ')' # )\n, c) + d", "", "a, (b), ')' # )\n, c"),
        ("call", "a, b", "", "a, b"),
        ("call_arg", "f(a, b), c", "", "f(a, b)"),
        ("ctor_arg", "[1, 2])", "", "[1, 2]"),
        ("annotated_assign", "{\n 1: 2}\nnext", "", "{\n 1: 2}"),
        ("member", "name(x)", "", "name"),
    ],
)
def test_replay_cut(kind: str, text: str, target: str, expected: str) -> None:
    assert cut_to_hole(text, kind, target, "python") == expected


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown hole kind"):
        cut_to_hole("x", "paragraph", "x", "python")


def test_brackets_know_strings_and_comments_of_the_language() -> None:
    assert unmatched_closer('"""\n)"""))', "python") == 8
    assert unmatched_closer("`${a)}` // )\n)", "typescript") == 13
    assert unmatched_closer("'a) + 'b'", "python") is None  # an open string runs to its line's end
    assert unmatched_closer("x # 'quote\n)", "python") == 11
    assert unmatched_closer("&'a T, b)", "rust") == 8
    assert argument_end("a // x, y\n, b", "go") == 10
    assert statement_end("a(\n)\nb", "python") == 4


@given(st.text(alphabet="()[]{}'\"`#/\\\n ax", max_size=40), st.sampled_from(["python", "typescript", "rust"]))
def test_the_scanner_is_total_and_ordered(text: str, language: str) -> None:
    end = unmatched_closer(text, language)
    assert end is None or text[end] in ")]}"


def test_retrieval_golden_values() -> None:
    """Document of 100 tokens, excerpt [10, 30), chunks of 20."""
    excerpt = [TokenSpan(10, 30)]
    chunks = [TokenSpan(start, start + 20) for start in range(0, 100, 20)]
    assert retrieval_score(excerpt, chunks[:2]) == RetrievalScore(1.0, 0.5, 0.5)
    assert retrieval_score(excerpt, chunks[1:2]) == RetrievalScore(0.5, 0.5, 1 / 3)
    assert precision_omega(excerpt, chunks) == 0.5


def test_retrieval_counts_overlaps_once_and_touching_as_nothing() -> None:
    excerpt = [TokenSpan(10, 30)]
    assert retrieval_score(excerpt, [TokenSpan(10, 30), TokenSpan(20, 30)]).precision == 1.0
    assert retrieval_score(excerpt, [TokenSpan(0, 10), TokenSpan(30, 40)]) == RetrievalScore(0.0, 0.0, 0.0)
    assert retrieval_score(excerpt, [TokenSpan(10, 30, "other.py")]).recall == 0.0
    assert retrieval_score(excerpt, []) == RetrievalScore(0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="no excerpt"):
        retrieval_score([], excerpt)


def test_ranking() -> None:
    assert reciprocal_rank(["a", "b", "c"], "b") == 0.5
    assert reciprocal_rank(["a", "b", "c"], "c", k=2) == 0.0
    assert hit_at(["a", "b"], "b", 2)
    assert not hit_at(["a", "b"], "b", 1)


def test_rouge_l() -> None:
    assert rouge_l("a = b.c(d)", "a = b.c(d)") == 1.0
    assert rouge_l("a b c d", "a c") == pytest.approx(2 * 2 / 6)
    assert rouge_l("", "") == 1.0
    assert rouge_l("", "a") == 0.0


def test_pass_at_k_is_unbiased() -> None:
    assert pass_at_k(10, 0, 1) == 0.0
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(5, 2, 3) == pytest.approx(1 - 1 / 10)
    assert pass_at_k(4, 4, 2) == 1.0
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(2, 3, 1)


def test_members() -> None:
    gold = "getServiceResponse();\n  }"
    assert next_identifier_match("getServiceResponse()", gold, "java")
    assert not next_identifier_match("getService()", gold, "java")
    assert not next_identifier_match("", gold, "java")
    assert identifier_sequence_match("a(b).d", "a(b).c", "java") == pytest.approx(2 / 3)
    assert prefix_match("a(x)", "a(b);", "java") == pytest.approx(2 / 5)
    assert prefix_match("a(b); // done", "a(b);", "java") == 1.0


def test_persistence() -> None:
    assert prefix_kept("foo(bar)", "foo(baz)") == pytest.approx(6 / 8)
    assert prefix_kept("", "x") == 0.0
    assert persistence("a\nb", "b\nc") == 0.5


def test_percentiles_are_nearest_rank() -> None:
    values = [float(v) for v in range(1, 101)]
    assert percentile(values, 50) == 50.0
    assert percentile(values, 95) == 95.0
    assert percentile([7.0], 95) == 7.0
    assert in_window_share([100.0, 700.0, 701.0, 9000.0]) == 0.5
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_bootstrap_is_seeded_and_covers_the_mean() -> None:
    values = [0.0] * 60 + [100.0] * 40
    interval = mean_interval(values, seed=1)
    assert interval == mean_interval(values, seed=1)
    assert interval.low < 40.0 < interval.high
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 4.9, rel=0.1)  # normal approximation
    assert mean_interval([5.0, 5.0]).low == 5.0


def test_paired_difference_is_tighter_than_unpaired() -> None:
    a = [float(i % 100) for i in range(200)]
    b = [value + 1 for value in a]
    difference = paired_difference(a, b)
    assert (difference.difference.low, difference.difference.high) == (1.0, 1.0)
    assert difference.difference.excludes_zero()
    assert (difference.gained, difference.lost) == (200, 0)
    with pytest.raises(ValueError, match="not paired"):
        paired_difference([1.0], [1.0, 2.0])


@given(st.text(max_size=30), st.text(max_size=30))
def test_every_measure_is_a_percentage_and_total(prediction: str, target: str) -> None:
    gold = Gold(target, "python", ("foo",), ())
    for name, measure in MEASURES.items():
        value = measure(prediction, gold)
        assert value is None or 0 <= value <= 100, name


@given(st.text(min_size=1, max_size=30))
def test_the_right_answer_scores_full_marks(target: str) -> None:
    gold = Gold(target, "python")
    assert MEASURES["em"](target, gold) == MEASURES["es"](target, gold) == 100
