"""The trainer on a tiny model: gradients are right, a killed run resumes bit for bit, a repeat is equal."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from holefill.model.adapter_file import stacked
from holefill.model.checkpoint import open_checkpoint
from holefill.model.tokenizer import Tokenizer
from holefill.model.training.examples import Example, Layout, TrainingError, TrainingText, encode, encode_all
from holefill.model.training.network import LoraShape, Packed, TrainableNetwork, causal_attention, new_factors
from holefill.model.training.schedule import Schedule, batch_at, weighted_draw
from holefill.model.training.trainer import Recipe, Saving, StepDone, drawn_examples, held_out_loss, train
from holefill.model.transformer import Transformer
from holefill.model.weights import Weights, load_dense

RECIPE = Recipe(steps=6, batch=2, peak=1e-2, warm_up=2, shape=LoraShape(rank=4, alpha=8.0))


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def weights(tiny_folder: Path) -> Weights:
    return load_dense(open_checkpoint(tiny_folder), torch.float32, torch.device("cpu"))


@pytest.fixture
def examples(byte_tokenizer: Tokenizer) -> list[Example]:
    texts = [TrainingText(f"x{i} = ", f"call({i})", f"\ny = {i}\n") for i in range(5)]
    return encode_all(texts, byte_tokenizer, 100)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_an_example_is_prefix_suffix_middle_and_ends(byte_tokenizer: Tokenizer) -> None:
    example = encode(TrainingText("ab", "c", "d"), byte_tokenizer, Layout.of(byte_tokenizer))
    assert example.ids == (257, 97, 98, 259, 100, 258, 99, 256)
    assert example.ids[example.start] == 99


def test_long_examples_are_left_out(byte_tokenizer: Tokenizer) -> None:
    texts = [TrainingText("a" * 50, "b", ""), TrainingText("a", "b", "")]
    assert len(encode_all(texts, byte_tokenizer, 20)) == 1


def test_loss_rows_predict_the_middle_and_the_end(examples: list[Example]) -> None:
    packed = Packed.of(examples[:2])
    first = len(examples[0].ids)
    assert packed.targets.tolist() == [*examples[0].ids[examples[0].start :], *examples[1].ids[examples[1].start :]]
    assert packed.ids[packed.rows + 1].tolist() == packed.targets.tolist()
    assert packed.positions[first] == 0


def test_the_network_is_the_served_transformer(weights: Weights, tiny_folder: Path, examples: list[Example]) -> None:
    network = TrainableNetwork(weights, {}, 1.0)
    packed = Packed.of(examples[:3])
    served = Transformer.load(tiny_folder, device="cpu", weights="fp32")
    rows = [
        served.forward(torch.tensor(e.ids), served.new_cache(len(e.ids)), logit_rows=slice(e.start - 1, len(e.ids) - 1))
        for e in examples[:3]
    ]
    assert torch.allclose(network.logits(packed), torch.cat(rows), atol=1e-4)


def test_sequences_of_a_batch_do_not_see_each_other(weights: Weights, examples: list[Example]) -> None:
    network = TrainableNetwork(weights, new_factors(weights.config, RECIPE.shape, 1), 2.0)
    alone = network.logits(Packed.of(examples[1:2]))
    together = network.logits(Packed.of(examples[:3]))
    first = len(examples[0].ids) - examples[0].start
    assert torch.allclose(together[first : first + len(alone)], alone, atol=1e-5)


def test_gradients_match_finite_differences(weights: Weights, examples: list[Example]) -> None:
    factors = {n: f.detach().double() for n, f in new_factors(weights.config, RECIPE.shape, 1).items()}
    for name, factor in factors.items():
        if name.endswith(".b"):
            factor.normal_(std=0.1, generator=torch.Generator().manual_seed(3))
        factor.requires_grad_()
    double = Weights(weights.config, {n: w.double() for n, w in weights.by_slot.items() if isinstance(w, Tensor)})
    network = TrainableNetwork(double, factors, 2.0)
    packed = Packed.of(examples[:2])
    network.loss(packed).backward()  # type: ignore[no-untyped-call]
    for name in ("layers.0.qkv.a", "layers.0.down.b", "layers.1.gate_up.b", "layers.1.o.a"):
        factor = factors[name]
        with torch.no_grad():
            losses = []
            for step in (1e-3, -2e-3):
                factor[1, 1] += step
                losses.append(float(network.loss(packed)))
            factor[1, 1] += 1e-3
        assert factor.grad is not None
        assert float(factor.grad[1, 1]) == pytest.approx((losses[0] - losses[1]) / 2e-3, rel=2e-2, abs=2e-5)


def test_training_lowers_the_loss_and_leaves_the_weights_alone(weights: Weights, examples: list[Example]) -> None:
    before = {n: w.clone() for n, w in weights.by_slot.items() if isinstance(w, Tensor)}
    plain = sum(held_out_loss(weights, {}, examples))
    trained = train(weights, examples, replace(RECIPE, steps=30))
    assert sum(held_out_loss(weights, trained.factors, examples)) < 0.8 * plain
    assert all(torch.equal(before[n], w) for n, w in weights.by_slot.items() if isinstance(w, Tensor))


def test_a_run_goes_on_from_an_adapter_or_on_top_of_one(weights: Weights, examples: list[Example]) -> None:
    first = train(weights, examples, replace(RECIPE, steps=30)).factors
    learned = sum(held_out_loss(weights, first, examples))
    still = replace(RECIPE, steps=1, peak=0.0)
    gone_on = train(weights, examples, still, start=first).factors
    assert sum(held_out_loss(weights, gone_on, examples)) == pytest.approx(learned, rel=1e-5)
    on_top = train(weights, examples, still, beneath=first)
    assert on_top.losses == pytest.approx(train(weights, examples, still, start=first).losses, rel=1e-5)
    more = train(weights, examples, replace(RECIPE, steps=20), beneath=first).factors
    assert sum(held_out_loss(weights, stacked(first, more), examples)) < learned
    with pytest.raises(TrainingError, match="--rank"):
        train(weights, examples, replace(still, shape=LoraShape(3)), start=first)


def test_what_the_model_knows_is_drawn_less(weights: Weights, examples: list[Example]) -> None:
    learned = train(weights, examples[:1], replace(RECIPE, steps=40, batch=1)).factors
    recipe, counts = replace(RECIPE, candidates=2), {}
    for name, factors in (("before", {}), ("after", learned)):
        network = TrainableNetwork(weights, factors, 1.0)
        drawn = [example for step in range(100) for example in drawn_examples(network, examples, recipe, step)]
        assert len(drawn) == 100 * recipe.batch
        counts[name] = drawn.count(examples[0])
    assert counts["after"] < counts["before"] / 2


def test_one_candidate_is_the_plain_order(weights: Weights, examples: list[Example]) -> None:
    plain = [[examples[n] for n in batch_at(step, len(examples), 2, 0)] for step in range(5)]
    network = TrainableNetwork(weights, {}, 1.0)
    assert [drawn_examples(network, examples, RECIPE, step) for step in range(5)] == plain


def test_a_weighted_draw_takes_by_weight() -> None:
    draws = [weighted_draw([1.0, 0.0, 3.0, 6.0], 1, random.Random(seed))[0] for seed in range(4000)]
    shares = [draws.count(index) / len(draws) for index in range(4)]
    assert shares == pytest.approx([0.1, 0.0, 0.3, 0.6], abs=0.03)
    assert weighted_draw([0.0, 2.0, 1.0], 3, random.Random(1)) == [0, 1, 2]


@pytest.mark.parametrize("candidates", [1, 2])
def test_a_killed_run_resumes_bit_for_bit(
    weights: Weights, examples: list[Example], tmp_path: Path, candidates: int
) -> None:
    recipe = replace(RECIPE, candidates=candidates)
    whole = train(weights, examples, recipe)
    saving = Saving(tmp_path / "state.pt", every=2)

    def killer(done: StepDone) -> None:
        if done.step == 5:  # the state of step 4 is on disk, step 5 is lost
            raise KilledError

    with pytest.raises(KilledError):
        train(weights, examples, recipe, saving=saving, tell=killer)
    steps: list[int] = []
    resumed = train(weights, examples, recipe, saving=saving, tell=lambda done: steps.append(done.step))
    assert steps == [5, 6]
    assert resumed.losses == whole.losses
    assert all(torch.equal(resumed.factors[name], factor) for name, factor in whole.factors.items())


def test_a_run_resumes_only_its_own_state(weights: Weights, examples: list[Example], tmp_path: Path) -> None:
    saving = Saving(tmp_path / "state.pt")
    train(weights, examples, RECIPE, saving=saving)
    with pytest.raises(TrainingError, match="other settings"):
        train(weights, examples, replace(RECIPE, seed=1), saving=saving)
    with pytest.raises(TrainingError, match="other settings"):
        train(weights, examples[:-1], RECIPE, saving=saving)
    (tmp_path / "state.pt").write_bytes(b"half a file")
    with pytest.raises(TrainingError, match="damaged"):
        train(weights, examples, RECIPE, saving=saving)


def test_seeds_differ_and_repeat(weights: Weights, examples: list[Example]) -> None:
    one, again, other = (train(weights, examples, replace(RECIPE, seed=seed)).losses for seed in (1, 1, 2))
    assert one == again != other


def test_nothing_to_train_on_says_so(weights: Weights) -> None:
    with pytest.raises(TrainingError, match="no example"):
        train(weights, [], RECIPE)


def test_every_epoch_sees_every_example_once() -> None:
    seen = [index for step in range(10) for index in batch_at(step, 10, 3, seed=0)]
    assert [sorted(seen[first : first + 10]) for first in (0, 10, 20)] == [list(range(10))] * 3
    assert seen[:10] != seen[10:20]


def test_the_rate_warms_up_peaks_and_ends_near_zero() -> None:
    schedule = Schedule(100, peak=1.0, warm_up=10)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_the_last_layers_alone(weights: Weights, examples: list[Example]) -> None:
    last = replace(RECIPE, steps=30, shape=LoraShape(4, 8.0, last=1))
    trained = train(weights, examples, last)
    assert {name.split(".")[1] for name in trained.factors} == {str(weights.config.layers - 1)}
    assert trained.losses[-1] < trained.losses[0]
    assert (
        new_factors(weights.config, LoraShape(last=99), 0).keys() == new_factors(weights.config, LoraShape(), 0).keys()
    )


def test_a_whole_change_is_full_tuning(weights: Weights, examples: list[Example]) -> None:
    """Its gradient is the weight's own, its one trained factor the weight's size."""
    factors = new_factors(weights.config, LoraShape(whole=True), 0)
    packed = Packed.of(examples[:2])
    torch.autograd.backward(TrainableNetwork(weights, factors, 1.0).loss(packed))
    by_slot = {**weights.by_slot}
    for slot in ("layers.0.gate_up", "layers.1.down"):
        weight = weights[slot]
        assert isinstance(weight, Tensor)
        by_slot[slot] = weight.clone().requires_grad_()
    torch.autograd.backward(TrainableNetwork(Weights(weights.config, by_slot), {}, 1.0).loss(packed))
    for slot in ("layers.0.gate_up", "layers.1.down"):
        pair = factors[f"{slot}.a"], factors[f"{slot}.b"]
        (change,) = (factor for factor in pair if factor.requires_grad)
        own = by_slot[slot]
        assert isinstance(own, Tensor)
        assert change.grad is not None
        assert own.grad is not None
        assert torch.allclose(change.grad, own.grad, atol=1e-6)
    trained = train(weights, examples, replace(RECIPE, steps=20, shape=LoraShape(whole=True)))
    assert trained.losses[-1] < 0.8 * trained.losses[0]
    same = trained.factors["layers.0.gate_up.a"]
    assert torch.equal(same, torch.eye(len(same)))


def test_a_learned_prefix_is_rows_that_every_row_of_every_sequence_sees(
    weights: Weights, examples: list[Example]
) -> None:
    """Values that are not zero reach all rows, and no sequence of a batch through another."""
    shape = LoraShape(prefix=3)
    factors = {name: factor.detach() for name, factor in new_factors(weights.config, shape, 0).items()}
    assert {tuple(factor.shape) for factor in factors.values()} == {
        (weights.config.kv_heads, 3, weights.config.head_dim)
    }
    packed = Packed.of(examples[:2])
    plain = TrainableNetwork(weights, {}, 1.0).states(packed)
    seen = {name: f + 1.0 if name.endswith(".v") else f for name, f in factors.items()}
    changed = TrainableNetwork(weights, seen, 1.0).states(packed)
    assert ((changed - plain).abs().amax(dim=1) > 1e-3).all()
    alone = TrainableNetwork(weights, seen, 1.0).states(Packed.of(examples[:1]))
    assert torch.allclose(changed[: len(alone)], alone, atol=1e-5)
    trained = train(weights, examples, replace(RECIPE, steps=30, shape=shape, peak=0.1))
    assert trained.losses[-1] < trained.losses[0]
    assert sum(held_out_loss(weights, trained.factors, examples)) < sum(held_out_loss(weights, {}, examples))


def test_rows_in_front_are_seen_as_rows_read_before() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 9, 4, generator=generator) for _ in range(3))
    whole = causal_attention(q, k, v)
    assert torch.allclose(causal_attention(q[:, 5:], k, v), whole[:, 5:], atol=1e-6)
