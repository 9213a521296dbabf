"""Masks against brute force over the whole vocabulary, on states of real and of random code."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from holefill.model.constrain import masks as masks_module
from holefill.model.constrain.languages import GRAMMAR_VERSION, LANGUAGES, automaton
from holefill.model.constrain.lexing import Automaton, State
from holefill.model.constrain.masks import Masks
from holefill.model.constrain.tables import build, load_or_build
from holefill.model.constrain.vocabulary import Vocabulary, allowed, unpack
from tests.model.constrain.conftest import masks_of
from tests.model.constrain.test_grammars import GOOD

PER_LANGUAGE = 50


def _states(lexer: Automaton, language: str, count: int) -> list[State]:
    """Half from real code cut anywhere, half gone astray from there at random."""
    rng = random.Random(language)
    found: list[State] = []
    while len(found) < count:
        text = rng.choice(GOOD[language]).encode()
        state = lexer.run(lexer.begin(), text, 0, rng.randrange(len(text) + 1))
        for _ in range(rng.choice((0, 0, 3, 8))):
            following = lexer.run(state, rng.choice(b"(){}[]'\"`\n :/<#ax").to_bytes())
            state = following or state
        found.append(state)
    return found


def _brute(lexer: Automaton, vocabulary: Vocabulary, state: State) -> list[bool]:
    return [bool(token) and bool(lexer.run(state, token)) for token in vocabulary.tokens]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_mask_is_what_brute_force_finds(language: str, vocabulary: Vocabulary) -> None:
    masks = masks_of(language, vocabulary)
    for state in _states(masks.automaton, language, PER_LANGUAGE):
        found = unpack(masks.of(state), len(vocabulary.tokens)).tolist()
        assert found == _brute(masks.automaton, vocabulary, state)


@pytest.mark.parametrize("fault", ["stack", "indentation"])
def test_brute_force_sees_a_planted_fault(fault: str, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "stack":
        monkeypatch.setattr(masks_module.Masks, "_key", lambda self, reading: (reading.mode, (), 0, ()))
    else:
        monkeypatch.setattr(masks_module, "indent", lambda layout, column, blocks: blocks)
    masks = Masks(automaton("python"), vocabulary, build(automaton("python").grammar, vocabulary))
    states = _states(masks.automaton, "python", PER_LANGUAGE)
    wrong = [
        unpack(masks.of(state), len(vocabulary.tokens)).tolist() != _brute(masks.automaton, vocabulary, state)
        for state in states
    ]
    assert any(wrong)


def test_tables_come_back_from_disk_as_they_were(tmp_path: Path, vocabulary: Vocabulary) -> None:
    lexer = automaton("go")
    made = load_or_build(lexer.grammar, GRAMMAR_VERSION, vocabulary, tmp_path)
    (file,) = tmp_path.iterdir()
    again = load_or_build(lexer.grammar, GRAMMAR_VERSION, vocabulary, tmp_path)
    for one, other in zip(made, again, strict=True):
        assert np.array_equal(one.accepted, other.accepted)
        assert [group.condition for group in one.groups] == [group.condition for group in other.groups]
        assert all(np.array_equal(a.value, b.value) for a, b in zip(one.groups, other.groups, strict=True))
    file.write_bytes(b"damaged")
    assert len(load_or_build(lexer.grammar, GRAMMAR_VERSION, vocabulary, tmp_path)) == len(made)


def test_tables_of_another_vocabulary_or_version_are_not_used(tmp_path: Path, vocabulary: Vocabulary) -> None:
    lexer = automaton("go")
    other = Vocabulary([*vocabulary.tokens, b"func"])
    load_or_build(lexer.grammar, 1, vocabulary, tmp_path)
    load_or_build(lexer.grammar, 2, vocabulary, tmp_path)
    load_or_build(lexer.grammar, 2, other, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_packed_bits_are_the_ones_packed(vocabulary: Vocabulary) -> None:
    words = vocabulary.pack([0, 31, 32, len(vocabulary.tokens) - 1])
    assert [id_ for id_ in range(len(vocabulary.tokens)) if allowed(words, id_)] == [
        0, 31, 32, len(vocabulary.tokens) - 1,
    ]  # fmt: skip
