"""Golden values of CodeFill's view: scores by class of token, of the first n tokens, and MRR@10 of the true token."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holefill.evaluation.metrics.ranking import at_rank
from holefill.evaluation.metrics.token_classes import (
    classed_tokens,
    first_tokens,
    mean_by_class,
    rouge_l_by_class,
    token_scores,
)
from holefill.evaluation.token_ranks import TokenRanks, first_characters, ranks_of
from holefill.model.tokenizer import Tokenizer


def test_every_token_has_its_class() -> None:
    found = [(token.text, token.name) for token in classed_tokens("return price.net(3) + f('a')  # why\n", "python")]
    assert found[:6] == [
        ("return", "keyword"), ("price", "name"), (".", "operator"), ("net", "name"), ("(", "punctuation"),
        ("3", "number"),
    ]  # fmt: skip
    assert {name for text, name in found if "a" in text and "'" in text} <= {"string"}
    assert not any("why" in text for text, _ in found)
    assert [(t.text, t.name) for t in classed_tokens("const n = 1;", "typescript")] == [
        ("const", "keyword"), ("n", "name"), ("=", "operator"), ("1", "number"), (";", "punctuation"),
    ]  # fmt: skip


def test_rouge_l_counts_one_class_at_a_time() -> None:
    scores = rouge_l_by_class("total(a, c)", "total(a, b)", "python")
    assert scores == pytest.approx({"name": 100 * 4 / 6, "punctuation": 100.0})
    assert rouge_l_by_class("", "x = 1", "python") == {"name": 0.0, "operator": 0.0, "number": 0.0}


def test_the_first_tokens_are_judged_apart_from_the_rest() -> None:
    scores = first_tokens("a.b(c)", "a.b[d]", "python")
    assert [scores[f"em/first {n}"] for n in (1, 2, 4)] == [100.0, 100.0, 0.0]
    assert scores["rouge_l/first 4"] == pytest.approx(75.0)
    assert "em/first 8" not in scores  # the target has six tokens


@given(st.text(max_size=30), st.text(max_size=30))
def test_token_scores_are_total_percentages(prediction: str, target: str) -> None:
    assert all(0 <= value <= 100 for value in token_scores(prediction, target, "python").values())


def test_means_by_class_belong_to_the_token_at_the_character() -> None:
    values = [(0, 1.0), (1, 0.5), (2, 0.0), (4, 1.0)]  # na|me and the operator; the space belongs to none
    assert mean_by_class([*values, (3, 0.0)], "nam = x", "python") == {"name": 50.0, "operator": 100.0}


def test_ranks_count_what_is_ahead() -> None:
    logits = torch.tensor([[0.0, 3.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0]])
    assert ranks_of(logits, torch.tensor([2, 2])) == [3, 3]
    assert ranks_of(logits, torch.tensor([1, 0])) == [1, 1]
    assert (at_rank(4), at_rank(11), at_rank(3, k=2)) == (0.25, 0.0, 0.0)


@dataclass
class Next:
    """A model that expects the id after the one it reads, and keeps what it was given."""

    vocabulary: int
    seen: list[int] = field(default_factory=list)

    def new_cache(self, capacity: int) -> None:
        return None

    def forward(self, ids: torch.Tensor, cache: object, *, logit_rows: torch.Tensor) -> torch.Tensor:
        self.seen += ids.tolist()
        logits = torch.zeros(len(ids), self.vocabulary)
        logits[torch.arange(len(ids)), (ids + 1) % self.vocabulary] = 1.0
        return logits[logit_rows]


@dataclass
class Machine:
    transformer: Next
    tokenizer: Tokenizer


@pytest.mark.parametrize("length", [1, 127, 128, 129, 300])
def test_the_true_answer_is_read_once_behind_the_prompt(byte_tokenizer: Tokenizer, length: int) -> None:
    model = Next(byte_tokenizer.vocab_size)
    ranks = TokenRanks(Machine(model, byte_tokenizer))  # type: ignore[arg-type]
    first = byte_tokenizer.encode("a")[0]
    prompt = [0] * (length - 1) + [first - 1]
    scores = ranks.scores(prompt, "abc", "python")
    assert model.seen == [*prompt, *byte_tokenizer.encode("abc")[:-1]]
    assert scores == {"mrr_at_10/name": 100.0}


def test_a_token_starts_at_its_first_visible_character(byte_tokenizer: Tokenizer) -> None:
    assert first_characters(byte_tokenizer, byte_tokenizer.encode("a =é")) == [0, 1, 2, 3, 3]
