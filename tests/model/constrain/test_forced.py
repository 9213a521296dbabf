"""What a guide leaves no choice about: found without building masks elsewhere, and drafted without changing a word."""

from __future__ import annotations

import numpy as np
import pytest

from holefill.model.cancel import CancelToken
from holefill.model.constrain.constraint import Constraint
from holefill.model.constrain.documents import Document
from holefill.model.constrain.guide import Guide, Guides
from holefill.model.constrain.masks import Masks
from holefill.model.constrain.names import Names, Spellings
from holefill.model.constrain.vocabulary import Vocabulary, sole, unpack
from holefill.model.engine import Engine
from holefill.model.kv.cache import KVCache
from holefill.model.request import GenerateRequest, Sampling, Timing
from holefill.model.spec.build import build
from holefill.model.spec.calibration import Calibration
from holefill.model.spec.cost import CostCurve
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.spec.tree import DraftTree, TreeBuilder
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer
from tests.model.constrain.conftest import masks_of

PREFIX, SUFFIX = "x = a", "\ny = [1]\n"
NAMES = (".append_item", ".pop_first_element")


@pytest.fixture(scope="module")
def guides(byte_tokenizer: Tokenizer) -> Guides:
    return Guides(byte_tokenizer, wait=True)


def _guide(guides: Guides, *names: str) -> Guide:
    guide = guides.guide(Constraint("python", PREFIX, SUFFIX, names))
    assert guide is not None
    return guide


def test_one_bit_is_told_from_two() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        bits = np.zeros(4 * 32, np.uint8)
        bits[rng.integers(0, 128, rng.integers(0, 3))] = 1
        found = sole(np.packbits(bits, bitorder="little").view(np.int32))
        assert found == (int(bits.argmax()) if bits.sum() == 1 else None)


def test_the_chain_is_what_masked_decoding_would_give(guides: Guides) -> None:
    """Over bytes, the rows of a name's rest have one bit each; the chain ends where a second one appears."""
    guide = _guide(guides, *NAMES)
    assert (
        guide.forced(3) == ()
    )  # two names are left: a vocabulary of words spells even their common start in many ways
    guide.commit(list(b".a"))
    chain = guide.forced(30)
    assert bytes(forced.token for forced in chain) == b"ppend_item"
    assert all(forced.only for forced in chain)
    step = guide.fork()
    for forced in chain:
        row = step.words(DraftTree.root(0))[0]
        assert unpack(row, 260).nonzero()[0].tolist() == [forced.token]
        step.commit([forced.token])
    assert unpack(step.words(DraftTree.root(0))[0], 260).sum() > 1
    assert step.forced(5) == ()
    assert guide.forced(4) == chain[:4]
    assert guide.forced(0) == ()


def test_where_there_is_a_choice_no_mask_is_built(guides: Guides, monkeypatch: pytest.MonkeyPatch) -> None:
    free, named = _guide(guides), _guide(guides, ".abc", ".xyz")
    named.commit([ord(".")])
    monkeypatch.setattr(Masks, "of", lambda *_: pytest.fail("a mask was built"))
    assert free.forced(8) == ()
    assert named.forced(8) == ()


def test_a_certain_text_is_spelled_as_usual(vocabulary: Vocabulary) -> None:
    masks = masks_of("python", vocabulary)
    ids = {text: id_ for id_, text in enumerate(vocabulary.tokens)}

    spellings = {
        ".return_it": [b".", b"return", b"_", b"i", b"t"],
        "return_it": [b"return", b"_", b"i", b"t"],
    }

    def encode(text: str) -> list[int]:
        return [ids[piece] for piece in spellings[text]]

    names = Names(Spellings(vocabulary, encode), [".return_it"])
    document = Document(masks.automaton)
    guide = Guide(masks, document.before(PREFIX.encode()), document.after(SUFFIX.encode()), names)
    chain = guide.forced(9)
    assert b"".join(vocabulary.tokens[forced.token] for forced in chain) == b".return_it"
    assert not chain[1].only  # `r` may stand there too
    assert guide.forced(2) == chain[:2]


def _answer(engine: Engine[KVCache], names: tuple[str, ...], sampling: Sampling) -> tuple[str, Timing]:
    constraint = Constraint("python", PREFIX, SUFFIX, names)
    request = GenerateRequest(tuple(PREFIX.encode()), 24, sampling=sampling, constraint=constraint)
    chunks = list(engine.generate(request, CancelToken()))
    assert chunks[-1].timing is not None
    return "".join(chunk.text for chunk in chunks), chunks[-1].timing


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, seed=3)])
def test_forced_tokens_save_forwards_and_change_no_answer(
    tiny_transformer: Transformer, byte_tokenizer: Tokenizer, guides: Guides, sampling: Sampling
) -> None:
    plain = Engine(tiny_transformer, byte_tokenizer, constrain=guides.guide)
    cost = CostCurve((1, 2, 32), (1.0, 1.1, 4.1))
    drafting = TreeSpeculator(260, cost=cost, drafters=("forced",))
    fast = Engine(tiny_transformer, byte_tokenizer, speculator=drafting, constrain=guides.guide)
    text, slow_timing = _answer(plain, NAMES, sampling)
    same, timing = _answer(fast, NAMES, sampling)
    assert same == text
    assert text.startswith(NAMES)
    name = next(name for name in NAMES if text.startswith(name))
    assert slow_timing.forwards - timing.forwards >= len(name) - 5  # `.`, and all from the second letter on
    assert drafting.tally.accepted_by_source == {"forced": drafting.tally.drafted}


def test_a_sure_node_leaves_nothing_to_its_siblings() -> None:
    builder = TreeBuilder(1)
    builder.add(0, 2, 0.9, "automaton.buffer", 11)
    other = TreeBuilder(1)
    other.add(0, 3, 1.0, "forced", 1)
    tree = build([builder.tree(), other.tree()], CostCurve((1, 2), (1.0, 1.5)), 8, Calibration())
    assert tree.token == (1, 3)
    assert tree.p_accept[1] == 1.0
