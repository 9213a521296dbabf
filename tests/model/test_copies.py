"""Fingerprints: an equal stretch of CERTAIN characters is always found, one shorter than RUN never."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.model.copies import (
    CERTAIN,
    RUN,
    CopiesError,
    Fingerprints,
    copies_beside,
    fingerprints_of,
    random_words,
    squeezed,
)
from holefill.model.shipped import FOLDER

HASHES = st.lists(st.integers(0, 2**40 - 1), max_size=60)


def prose(seed: int, characters: int) -> str:
    generator = random.Random(seed)
    text = ""
    while len(squeezed(text)) < characters:
        text += "".join(generator.choice(string.ascii_lowercase) for _ in range(generator.randint(1, 9)))
        text += generator.choice((" ", "\n    ", "(", ")\n"))
    return text


LEARNED = [prose(seed, 400) for seed in range(20)]
KNOWN = fingerprints_of(LEARNED)


@given(HASHES)
@settings(max_examples=30, deadline=None)
def test_the_set_holds_what_was_put_in_and_nothing_else(hashes: list[int]) -> None:
    made = Fingerprints(hashes)
    assert list(made) == sorted(set(hashes))
    assert len(made) == len(set(hashes))
    for value in hashes:
        assert value in made
        for other in (value ^ 1, value ^ 1 << 30):
            assert (other in made) == (other in hashes)


@given(st.integers(0, 19), st.integers(0, 399 - CERTAIN), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_a_certain_stretch_is_found_wherever_it_starts(which: int, first: int, seed: int) -> None:
    stretch = squeezed(LEARNED[which])[first : first + CERTAIN]
    around = prose(seed + 1000, 30)
    indented = "\n    ".join(stretch[at : at + 17] for at in range(0, CERTAIN, 17))
    found = KNOWN.found(around + indented + around)
    assert found
    assert all(run in squeezed(LEARNED[which]) for run in found)


@given(st.integers(0, 19), st.integers(0, 300))
@settings(max_examples=50, deadline=None)
def test_a_stretch_below_a_run_is_never_found(which: int, first: int) -> None:
    assert KNOWN.found(squeezed(LEARNED[which])[first : first + RUN - 1]) == []


def test_a_text_of_one_window_is_found_whole() -> None:
    text = prose(77, RUN + 5)
    assert fingerprints_of([text]).found(text)
    assert not fingerprints_of([prose(78, RUN - 20)]).found(text)


def test_a_word_drawn_at_random_is_found_although_it_is_short() -> None:
    key = "q9Zt4LmP2sX8vB1nK7wR"
    assert random_words(f"token = '{key}'  # read_only_settings_of_version_2") == [key]
    assert fingerprints_of([f"token = '{key}'"]).found(f"call({key})") == [key]
    assert fingerprints_of(["token = 'other'"]).found(f"call({key})") == []


def test_saved_and_read_again(tmp_path: Path) -> None:
    adapter = tmp_path / "a.safetensors"
    assert copies_beside(None) is None
    assert copies_beside(adapter) is None
    KNOWN.save(tmp_path / "a.copies")
    read = copies_beside(adapter)
    assert read is not None
    assert list(read) == list(KNOWN)
    (tmp_path / "a.copies").write_bytes((tmp_path / "a.copies").read_bytes()[:-1])
    with pytest.raises(CopiesError, match="train copies"):
        copies_beside(adapter)


def test_the_shipped_adapter_has_its_set_in_less_than_a_megabyte() -> None:
    for adapter in FOLDER.glob("*.safetensors"):
        found = copies_beside(adapter)
        assert found is not None
        assert len(found) > 1000
        assert adapter.with_suffix(".copies").stat().st_size <= 1_000_000
