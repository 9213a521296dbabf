"""The acceptance head: what it learns, what a recorded guess is, and whose head it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from holefill.model.engine import Engine
from holefill.model.spec import acceptance
from holefill.model.spec.acceptance import (
    FEATURES,
    AcceptanceError,
    HeadCard,
    features,
    load_head,
    save_head,
    shipped_head,
)
from holefill.model.spec.speculator import MAX_DEPTH
from holefill.model.spec.top import Likeliest
from holefill.model.tokenizer import Tokenizer
from holefill.model.training.acceptance import (
    HeadRecipe,
    Pairs,
    _log_odds,
    area,
    judged,
    record,
    scores,
    train_head,
)
from holefill.model.transformer import Transformer

CARD = HeadCard("target", "draft", commit="c")
RECIPE = HeadRecipe(epochs=6)


def _pairs(count: int, seed: int) -> Pairs:
    """Margin and depth tell nearly always what is accepted; the guess's own probability alone does not."""
    rng = np.random.default_rng(seed)
    log_probs = np.log(-np.sort(-rng.dirichlet(np.full(8, 0.3), count) * 0.98 - 1e-4)).astype(np.float32)
    depth = rng.integers(1, 9, count).astype(np.int32)
    odds = 6 * (log_probs[:, 0] - log_probs[:, 1]) - 4.0 * depth + 8.0
    accepted = rng.random(count) < 1 / (1 + np.exp(-odds))
    zeros = np.zeros(count, np.float32)
    return Pairs(log_probs, depth, zeros, zeros, accepted)


def test_it_learns_what_can_be_told_and_says_how_sure_it_is() -> None:
    head = train_head(_pairs(2000, 1), _pairs(1500, 2), CARD, RECIPE)
    naive = _pairs(1500, 2)
    assert head.card.scores["auc"] > 0.93
    assert head.card.scores["auc"] > area(np.exp(naive.log_probs[:, 0]), naive.accepted) + 0.1
    assert head.card.scores["ece"] < 0.05  # although rejections weigh six times as much in the loss
    assert (head.card.pairs, head.card.scores["guesses"]) == (2000, 1500)


def test_training_is_repeatable() -> None:
    one, two = (train_head(_pairs(200, 1), _pairs(50, 2), CARD, HeadRecipe(epochs=1)) for _ in range(2))
    assert all((one.tensors[name] == two.tensors[name]).all() for name in one.tensors)


def test_serving_computes_what_training_did() -> None:
    pairs = _pairs(300, 3)
    head = train_head(pairs, pairs, CARD, HeadRecipe(epochs=1))
    tensors = {name: torch.from_numpy(tensor) for name, tensor in head.tensors.items()}
    odds = _log_odds(tensors, torch.from_numpy(pairs.features())) + np.log(acceptance.REJECTION_WEIGHT)
    assert head.probability(pairs.features()) == pytest.approx(odds.sigmoid().numpy(), abs=1e-5)


def test_features_are_finite_whatever_a_row_says() -> None:
    rows = np.full((2, 8), -np.inf, np.float32)
    rows[0, 0] = 0.0  # certain
    rows[1] = -12.0
    found = features(rows, [1, 10], [0.0, -np.inf], [0.0, -40.0])
    assert found.shape == (2, FEATURES)
    assert np.isfinite(found).all()


def test_a_recorded_round_ends_where_the_target_disagrees_or_speaks() -> None:
    said = list(range(20, 20 + 2 * MAX_DEPTH))
    guessed = list(said)
    guessed[2] = 1  # wrong once
    count = len(said)
    ids = np.array([[guess, *range(7)] for guess in guessed], np.int32)
    log_probs = np.tile(-np.arange(1, 9, dtype=np.float32), (count, 1))
    found = judged(Likeliest(ids, log_probs), said)
    assert found.accepted.tolist() == [True, True, False, *[True] * (len(found) - 3)]
    assert found.depth.tolist()[:5] == [1, 2, 3, 1, 2]
    # ten right guesses from place 3 on; the word at place 13 is the target's, so nothing is guessed there
    assert found.depth.tolist()[3:14] == [*range(1, MAX_DEPTH + 1), 1]
    assert len(found) == count - 1
    assert found.previous.tolist()[:4] == [0.0, -1.0, -1.0, 0.0]
    assert found.path.tolist()[:4] == [0.0, -1.0, -2.0, 0.0]


def test_area_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = rng.integers(0, 5, 30).astype(np.float32)
        accepted = rng.random(30) < 0.5
        pairs = [(a, b) for a in p[accepted] for b in p[~accepted]]
        expected = sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)
        assert area(p, accepted) == pytest.approx(expected)
    assert scores(np.full(3, 0.5, np.float32), np.array([True, True, True]))["auc"] == 0.5


def test_pairs_survive_the_disk(tmp_path: Path) -> None:
    pairs = _pairs(20, 4)
    pairs.save(tmp_path / "p.npz")
    again = Pairs.joined([Pairs.load(tmp_path / "p.npz"), pairs])
    assert len(again) == 40
    assert (again.features()[:20] == again.features()[20:]).all()


def test_a_head_is_of_one_pair_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = train_head(_pairs(100, 1), _pairs(50, 2), CARD, HeadRecipe(epochs=1))
    path = tmp_path / "head.safetensors"
    save_head(path, head)
    same = load_head(path, "target", "draft")
    assert same.card == head.card
    rows = _pairs(5, 9).features()
    assert (same.probability(rows) == head.probability(rows)).all()
    for target, draft in (("other", "draft"), ("target", "other")):
        with pytest.raises(AcceptanceError, match="another pair of models"):
            load_head(path, target, draft)
    monkeypatch.setattr(acceptance, "FOLDER", tmp_path)
    assert shipped_head("target", "draft") is not None
    assert shipped_head("target", "other") is None


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    head = train_head(_pairs(100, 1), _pairs(50, 2), CARD, HeadRecipe(epochs=1))
    path = tmp_path / "head.safetensors"
    save_head(path, replace(head, card=replace(head.card, version=99)))
    with pytest.raises(AcceptanceError, match="format 99"):
        load_head(path, "target", "draft")
    save_head(path, replace(head, tensors={**head.tensors, "in.bias": np.zeros(3, np.float32)}))
    with pytest.raises(AcceptanceError, match="tensors"):
        load_head(path, "target", "draft")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AcceptanceError, match="cannot be read"):
        load_head(path, "target", "draft")


def test_the_shipped_heads_are_small_and_each_of_its_own_pair() -> None:
    heads = sorted(acceptance.FOLDER.glob("*.safetensors"))
    assert heads
    pairs = set()
    for path in heads:
        card, _ = acceptance._read(path)
        found = shipped_head(card.target, card.draft)
        assert found is not None
        assert found.card == card
        assert path.stat().st_size < 200_000
        assert card.scores["ece"] <= 0.05
        pairs.add((card.target, card.draft))
    assert len(pairs) == len(heads)


@pytest.mark.model
def test_a_shipped_head_fits_the_default_model(default_model_path: Path) -> None:
    """By the hash of its weights, the draft's."""
    from holefill.model.adapter_file import base_hash

    drafts = {acceptance._read(path)[0].draft for path in acceptance.FOLDER.glob("*.safetensors")}
    assert base_hash(default_model_path) in drafts


def test_a_model_recorded_against_itself_agrees(tiny_transformer: Transformer, byte_tokenizer: Tokenizer) -> None:
    engine = Engine(tiny_transformer, byte_tokenizer)
    prompts = [tuple(range(60, 60 + length)) for length in (3, 32, 33, 64, 70)]
    found = list(record(engine, tiny_transformer, prompts, 9))
    assert len(found) == len(prompts)
    for pairs in found:
        assert pairs.accepted.all()
        assert pairs.depth.tolist() == list(range(1, len(pairs) + 1))
        assert pairs.path[1:] == pytest.approx(np.cumsum(pairs.log_probs[:-1, 0]))
