"""Loss terms: off they change no bit, on they learn what they say, and a killed run with them resumes bit for bit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from holefill.model.adapter_file import AdapterCard, load_adapter, save_adapter
from holefill.model.adapter_file import base_hash as hash_of
from holefill.model.checkpoint import open_checkpoint
from holefill.model.tokenizer import Tokenizer
from holefill.model.training.examples import Example, TrainingError, TrainingText, encode_all, read_texts, write_texts
from holefill.model.training.labels import END_TYPE, NO_TYPE, TYPE_OF, Labels, packed_types, spread_types
from holefill.model.training.network import LoraShape, Packed, TrainableNetwork, new_factors
from holefill.model.training.schedule import batch_at
from holefill.model.training.terms.contrastive import nt_xent
from holefill.model.training.terms.renaming import Renaming
from holefill.model.training.terms.statement import Statement
from holefill.model.training.terms.table import TERMS, read_terms
from holefill.model.training.terms.term import Batch, Setup
from holefill.model.training.terms.two_pass import TwoPass
from holefill.model.training.terms.type_adapter import RANK, TypeAdapter
from holefill.model.training.trainer import BETAS, CLIP, Recipe, Saving, StepDone, foretold, train
from holefill.model.weights import Weights, load_dense

RECIPE = Recipe(steps=6, batch=2, peak=1e-2, warm_up=2, shape=LoraShape(rank=4, alpha=8.0))


def text(number: int) -> TrainingText:
    prefix, middle, suffix = f"y = f({number})\nx{number} = ", f"call({number})", "\ny"
    types = "v_o_fbnb_" + "vv_o_" + "ffffbnb" + "_v"
    twin = (prefix.replace("y", "z").replace("x", "w"), middle, "\nz")
    return TrainingText(prefix, middle, suffix, labels=Labels(packed_types(types), ((4, 8),), twin))


@pytest.fixture(scope="module")
def weights(tiny_folder: Path) -> Weights:
    return load_dense(open_checkpoint(tiny_folder), torch.float32, torch.device("cpu"))


@pytest.fixture
def examples(byte_tokenizer: Tokenizer) -> list[Example]:
    return encode_all([text(number) for number in range(5)], byte_tokenizer, 100)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def batch_of(weights: Weights, examples: list[Example]) -> Batch:
    network = TrainableNetwork(weights, {}, 1.0)
    packed = Packed.of(examples)
    return Batch(network, examples, packed, network.states(packed))


def test_without_terms_a_run_is_the_plain_loop_bit_for_bit(weights: Weights, examples: list[Example]) -> None:
    """The loop written out, on examples that have no labels at all."""
    bare = [replace(example, labels=None) for example in examples]
    factors = new_factors(weights.config, RECIPE.shape, RECIPE.seed)
    network = TrainableNetwork(weights, factors, RECIPE.shape.scale)
    optimizer = torch.optim.AdamW(factors.values(), lr=RECIPE.peak, betas=BETAS, weight_decay=0.0)
    losses = []
    for step in range(RECIPE.steps):
        optimizer.param_groups[0]["lr"] = RECIPE.schedule.rate(step)
        optimizer.zero_grad(set_to_none=True)
        loss = network.loss(Packed.of([bare[n] for n in batch_at(step, len(bare), RECIPE.batch, RECIPE.seed)]))
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(factors.values(), CLIP)
        optimizer.step()
        losses.append(float(loss.detach()))
    trained = train(weights, examples, RECIPE)
    assert trained.losses == tuple(losses)
    scale = RECIPE.shape.scale
    assert all(
        torch.equal(trained.factors[n], f.detach() * (scale if n.endswith(".b") else 1.0)) for n, f in factors.items()
    )


@pytest.mark.parametrize("name", TERMS)
def test_a_term_teaches_the_adapter_something_and_its_adapter_can_be_loaded(
    name: str, weights: Weights, examples: list[Example], tiny_folder: Path, tmp_path: Path
) -> None:
    plain = train(weights, examples, RECIPE)
    with_it = train(weights, examples, replace(RECIPE, terms=((name, 0.5),)))
    assert with_it.losses != plain.losses
    save_adapter(tmp_path / "a.safetensors", AdapterCard(hash_of(tiny_folder)), with_it.factors)
    load_adapter(tmp_path / "a.safetensors", tiny_folder, weights.config)


@pytest.mark.parametrize("name", ["token_type", "type_adapter"])
def test_a_killed_run_with_a_term_resumes_bit_for_bit(
    name: str, weights: Weights, examples: list[Example], tmp_path: Path
) -> None:
    recipe = replace(RECIPE, terms=((name, 0.5),))
    whole = train(weights, examples, recipe)
    saving = Saving(tmp_path / "state.pt", every=2)

    def killer(done: StepDone) -> None:
        if done.step == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(weights, examples, recipe, saving=saving, tell=killer)
    resumed = train(weights, examples, recipe, saving=saving)
    assert resumed.losses == whole.losses
    assert all(torch.equal(resumed.factors[key], factor) for key, factor in whole.factors.items())
    with pytest.raises(TrainingError, match="other settings"):
        train(weights, examples, RECIPE, saving=saving)


def own_loss(weights: Weights, examples: list[Example], name: str, steps: int = 60) -> tuple[float, float]:
    """A term alone, trained by its own parameters: its loss before and after."""
    term = TERMS[name](Setup(weights, 0))
    optimizer = torch.optim.Adam(term.parameters.values(), lr=0.02)
    losses: list[float] = []
    for _ in range(steps):
        loss = term.loss(batch_of(weights, examples))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses[0], losses[-1]


@pytest.mark.parametrize("name", ["token_type", "two_pass", "type_adapter"])
def test_types_are_learned_from_no_idea(name: str, weights: Weights, examples: list[Example]) -> None:
    before, after = own_loss(weights, examples[:2], name)
    assert before == pytest.approx(math.log(END_TYPE + 1), rel=1e-4)
    assert after < 0.6 * before


def test_the_second_pass_reads_types_and_no_code(weights: Weights, examples: list[Example]) -> None:
    term = TwoPass(Setup(weights, 0))
    with torch.no_grad():
        term.parameters["head"].normal_(generator=torch.Generator().manual_seed(0))
    one, other = examples[0], examples[3]
    assert one.ids != other.ids
    same = [float(term.loss(batch_of(weights, [example])).detach()) for example in (one, other)]
    assert same[0] == pytest.approx(same[1], abs=1e-6)
    assert one.labels is not None
    changed = replace(one, labels=replace(one.labels, types=(*one.labels.types[:3], 5, *one.labels.types[4:])))
    assert float(term.loss(batch_of(weights, [changed])).detach()) != pytest.approx(same[0], abs=1e-6)


def test_what_the_middle_teaches_never_reaches_the_type_adapter(weights: Weights, examples: list[Example]) -> None:
    term = TypeAdapter(Setup(weights, 0))
    network = TrainableNetwork(weights, {}, 1.0, beside=term.beside)
    plain = network.loss(Packed.of(examples))
    assert not plain.requires_grad
    with torch.no_grad():
        for name, one in term.parameters.items():
            if name.endswith(".b"):
                one.fill_(0.01)
    assert network.loss(Packed.of(examples)) != plain  # it is added all the same, as it changes
    trained = train(weights, examples, replace(RECIPE, terms=(("type_adapter", 1.0),)))
    assert trained.factors["layers.0.qkv.a"].shape[0] == RECIPE.shape.rank + RANK


def test_statements_are_learned_from_what_stands_before_them(weights: Weights, examples: list[Example]) -> None:
    """The rows of ``f(N)`` of both sequences, each predicted by the row before it."""
    batch = batch_of(weights, examples[:2])
    second = len(examples[0].ids)
    rows = [1 + 4 - 1 + n for n in range(4)]
    rows += [second + row for row in rows]
    wanted = torch.nn.functional.cross_entropy(
        batch.network.head(batch.states[rows]), torch.tensor([batch.packed.ids[row + 1] for row in rows])
    )
    assert torch.equal(Statement(Setup(weights, 0)).loss(batch), wanted)
    assert bytes(batch.packed.ids[[row + 1 for row in rows]].tolist()) == b"f(0)f(1)"


def test_a_renamed_twin_is_learned_like_a_hole(weights: Weights, byte_tokenizer: Tokenizer) -> None:
    one = text(0)
    assert one.labels is not None
    assert one.labels.renamed is not None
    twin = TrainingText(*one.labels.renamed)
    batch = batch_of(weights, encode_all([one, replace(text(1), labels=replace(one.labels, renamed=None))],
                                         byte_tokenizer, 100))  # fmt: skip
    alone = batch_of(weights, encode_all([twin], byte_tokenizer, 100))
    assert torch.equal(Renaming(Setup(weights, 0)).loss(batch), alone.network.loss(alone.packed))


def test_twins_attract_and_others_repel() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    alike, apart = torch.stack((a, b, a, b)), torch.stack((a, b, b, a))
    assert float(nt_xent(alike, 1.0)) == pytest.approx(math.log(math.e + 2) - 1, abs=1e-6)
    assert float(nt_xent(apart, 1.0)) == pytest.approx(math.log(math.e + 2), abs=1e-6)
    assert nt_xent(3.0 * alike, 1.0) == pytest.approx(nt_xent(alike, 1.0))


def test_types_of_tokens_stand_beside_their_ids(byte_tokenizer: Tokenizer) -> None:
    (example,) = encode_all([text(7)], byte_tokenizer, 100)
    assert example.labels is not None
    assert len(example.labels.types) == len(example.ids)
    spelled = "".join("." if t == NO_TYPE else "$" if t == END_TYPE else list(TYPE_OF)[t] for t in example.labels.types)
    assert spelled == ".v_o_fbnb_vv_o_._v.ffffbnb$"


def test_labels_survive_the_file_and_data_without_them_says_what_to_do(
    weights: Weights, byte_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    texts = [text(0), TrainingText("a = ", "b", "\n")]
    write_texts(tmp_path / "t.jsonl", texts)
    assert list(read_texts(tmp_path / "t.jsonl")) == texts
    with pytest.raises(TrainingError, match="--labels"):
        train(weights, encode_all(texts[1:], byte_tokenizer, 100), replace(RECIPE, terms=(("renaming", 1.0),)))
    (tmp_path / "t.jsonl").write_text('{"prefix": "", "middle": "", "suffix": "", "labels": {"statements": []}}\n')
    with pytest.raises(TrainingError, match="line 1"):
        list(read_texts(tmp_path / "t.jsonl"))


def test_runs_of_types_spread_again() -> None:
    assert packed_types("kkk_vv") == "3k1_2v"
    assert spread_types("3k1_12v") == "kkk_" + 12 * "v"


@pytest.mark.parametrize("spelling", ["token_type", "token_type=x", "else=1", "token_type=0", "token_type=nan"])
def test_terms_are_read_or_refused(spelling: str) -> None:
    assert read_terms(["token_type=0.1", "contrastive=1"]) == (("contrastive", 1.0), ("token_type", 0.1))
    with pytest.raises(TrainingError):
        read_terms([spelling])


def test_what_is_foretold_is_what_greedy_decoding_writes(weights: Weights, examples: list[Example]) -> None:
    factors = train(weights, examples[:2], replace(RECIPE, steps=60)).factors
    network = TrainableNetwork(weights, factors, 1.0)
    for example, one in zip(examples, foretold(weights, factors, examples), strict=True):
        ids = list(example.ids[: example.start])
        while len(ids) < len(example.ids):
            ids.append(next_of(network, ids))
        assert one.exact == (tuple(ids) == example.ids)
    assert any(one.exact for one in foretold(weights, factors, examples))


def next_of(network: TrainableNetwork, ids: list[int]) -> int:
    logits: Tensor = network.logits(Packed.of([Example((*ids, 0), len(ids))]))
    return int(logits[-1].argmax())
