"""Golden values of what a run's table and last line say beside its scores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holefill.evaluation.records import Record, RunHeader, UsedItem
from holefill.evaluation.summary import last_line, same_prompts, summarise

HEADER = RunHeader("s", 1, "m", "on", 0, None, "d", "c", engine="llama.cpp")


def record(number: int, em: float, *sources: str) -> Record:
    items = tuple(UsedItem(source) for source in sources)
    return Record(f"c{number}", "on", "python", "line", scores={"em": em}, items=items)


def test_plain_decoding_has_a_mat_of_one() -> None:
    """The first token comes with the prefill's forward, which no record counts."""
    plain = [
        replace(record(n, 0.0), completion_tokens=tokens, forwards=tokens - 1) for n, tokens in enumerate((1, 5, 9))
    ]
    assert summarise(plain, "on").accepted_per_forward == 1.0
    drafted = [
        replace(record(0, 0.0), completion_tokens=10, forwards=3),
        replace(record(1, 0.0), completion_tokens=2, forwards=0),
    ]
    assert summarise(drafted, "on").accepted_per_forward == pytest.approx(12 / 5)
    assert summarise([record(0, 0.0)], "on").accepted_per_forward is None


def test_drafters_share_the_tokens_of_the_run() -> None:
    records = [
        replace(record(0, 0.0), completion_tokens=6, forwards=2, accepted={"trigram": 3, "automaton": 1}),
        replace(record(1, 0.0), completion_tokens=4, forwards=3, accepted={"trigram": 1}),
    ]
    assert summarise(records, "on").accepted_by_drafter == {"automaton": 10.0, "trigram": 40.0}


def test_a_case_counts_for_every_source_in_its_prompt() -> None:
    records = [record(0, 100.0, "imports", "similar", "imports"), record(1, 0.0, "similar"), record(2, 100.0)]
    by = summarise(records, "on").by["source"]
    assert {name: (group.n, group.means["em"]) for name, group in by.items()} == {
        "imports": (1, 100.0), "similar": (2, 50.0), "no context": (1, 100.0)
    }  # fmt: skip


def test_percentiles_and_prefilled_tokens_reach_the_last_line() -> None:
    records = [
        replace(record(n, 0.0), total_ms=float(n), prompt_tokens=100, cached_tokens=90 if n > 1 else 0)
        for n in range(1, 101)
    ]
    line = last_line(HEADER, summarise(records, "on"), 1.0)
    assert line["latency_ms"] == {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0}
    assert (line["prefilled_tokens"], line["prompt_tokens"]) == (100 + 99 * 10, 10_000)
    assert line["engine"] == "llama.cpp"


def test_token_scores_have_means_over_the_cases_that_have_them() -> None:
    records = [
        replace(record(0, 0.0), token_scores={"rouge_l/name": 100.0}),
        replace(record(1, 0.0), token_scores={"rouge_l/name": 50.0, "mrr_at_10/name": 20.0}),
    ]
    means = {name: interval.mean for name, interval in summarise(records, "on").token_intervals.items()}
    assert means == {"mrr_at_10/name": 20.0, "rouge_l/name": 75.0}
    tokens = last_line(HEADER, summarise(records, "on"), 1.0)["tokens"]
    assert isinstance(tokens, dict)
    assert tokens["mrr_at_10/name"] == [20.0, 20.0, 20.0]


def test_prompts_are_compared_where_both_runs_know_them() -> None:
    a = [replace(record(0, 0.0), prompt_sha="x"), replace(record(1, 0.0), prompt_sha="y"), record(2, 0.0)]
    b = [
        replace(record(0, 0.0), prompt_sha="x"),
        replace(record(1, 0.0), prompt_sha="z"),
        replace(record(2, 0.0), prompt_sha="q"),
    ]
    assert same_prompts(a, b) == (1, 2)
