"""`eval constraints`: real files are never refused, what no file would hold is, places that cannot be read are told."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path

import pytest

from holefill.evaluation.constraints import Found, Hole, ask, measure, random_holes
from holefill.model.constrain.guide import Guides
from holefill.model.tokenizer import Tokenizer
from tests.model.conftest import SPECIALS, _byte_bpe


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(_byte_bpe(), {name: 256 + i for i, name in enumerate(SPECIALS)}, vocab_size=260)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("masks")


@pytest.fixture(scope="module")
def guides(tokenizer: Tokenizer, folder: Path) -> Guides:
    return Guides(tokenizer, folder, wait=True)


def test_random_holes_put_together_are_the_file() -> None:
    text = "a = 1\nif a:\n    b\n\nc"
    for hole in random_holes("python", "x", text, random.Random(0)):
        assert hole.prefix + hole.middle + hole.suffix == text


def test_the_standard_library_is_never_refused(guides: Guides, tokenizer: Tokenizer) -> None:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[::8]
    texts = ((str(file), file.read_text("utf-8")) for file in files)
    found = measure(guides, tokenizer, texts, 4_000, seed=0)["python"]
    assert found.positions >= 4_000
    assert not found.refused


def test_a_middle_that_is_no_python_is_refused_and_a_broken_place_is_off(guides: Guides, tokenizer: Tokenizer) -> None:
    found = Found()
    ask(guides, tokenizer, Hole("python", "wrong", "x = (", "1]", ")\n"), found)
    ask(guides, tokenizer, Hole("python", "open", "x = (", "f(1", ")\n"), found)
    ask(guides, tokenizer, Hole("python", "right", "x = (", "f(1)", ")\n"), found)
    ask(guides, tokenizer, Hole("python", "broken", "x = ]", "1", "\n"), found)
    assert (found.holes, found.refused, dict(found.off)) == (3, ["wrong", "open"], {"prefix": 1})
