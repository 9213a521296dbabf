"""A draft model is served where measured costs say that it pays, and only one of the same vocabulary."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import tokenizers
import torch

from holefill.model.cancel import Interrupt
from holefill.model.errors import UnknownModelError
from holefill.model.known import known_models
from holefill.model.loading import load_engine
from holefill.model.spec import pairing
from holefill.model.spec.drafters.draft_model import DraftModelDrafter
from holefill.model.spec.pairing import (
    AUTO,
    OFF,
    PairingError,
    choose,
    draft_model_for,
    pays,
    same_vocabulary,
    step_ms,
)
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.tokenizer import Tokenizer

FILES = {name: model.file for name, model in known_models().models.items()}
SMALL, LARGE = "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"


@dataclass
class Store:
    here: dict[str, Path]

    def find(self, name: str) -> Path | None:
        return self.here.get(name)


def _choose(target: str, *here: str) -> pairing.Choice:
    return choose(Path(target), Store({name: Path(name) for name in here}))  # type: ignore[arg-type]


def test_auto_says_why_it_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no known model" in _choose("mine.gguf").reason
    assert "smallest" in _choose(FILES[SMALL], SMALL).reason
    assert f"holefill model pull {SMALL}" in _choose(FILES[LARGE]).reason
    share = known_models().models[SMALL].size / known_models().models[LARGE].size
    weighed = _choose(FILES[LARGE], SMALL)
    assert weighed.name is None
    assert f"{share:.2f}" in weighed.reason
    monkeypatch.setattr(pairing, "MAX_RATIO", share)
    assert _choose(FILES[LARGE], SMALL) == pairing.Choice(SMALL, "")


def test_the_rule_is_a_tenth() -> None:
    assert pays(1.0, 10.0)
    assert not pays(1.01, 10.0)


def test_a_step_is_timed_by_its_median() -> None:
    class Model:
        def new_cache(self, capacity: int) -> None: ...

        def forward(
            self, ids: torch.Tensor, cache: None, *, logit_rows: torch.Tensor, interrupt: Interrupt | None = None
        ) -> torch.Tensor:
            return torch.zeros(1, 4)

    seconds = iter([0.0, 0.5, 1.0, 1.002, 2.0, 2.002, 3.0, 3.003, 4.0, 4.001])
    assert step_ms(Model(), clock=lambda: next(seconds)) == pytest.approx(2.0)


@pytest.mark.parametrize(("draft_ms", "taken"), [(0.9, True), (1.1, False)])
def test_auto_weighs_the_measured_steps(
    tiny_folder: Path,
    byte_tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    draft_ms: float,
    taken: bool,
) -> None:
    monkeypatch.setattr(pairing, "choose", lambda *_: pairing.Choice(str(tiny_folder), ""))
    monkeypatch.setattr(pairing, "step_ms", lambda *_: draft_ms)
    caplog.set_level(logging.INFO, pairing.log.name)
    made = draft_model_for(AUTO, tiny_folder, Tokenizer.load(tiny_folder), 10.0, vocabulary=260)
    assert isinstance(made, DraftModelDrafter) == taken
    assert ("drafts" if taken else "no draft model") in caplog.text
    assert f"{draft_ms / 10:.2f} of the target's time" in caplog.text
    named = draft_model_for(str(tiny_folder), tiny_folder, Tokenizer.load(tiny_folder), 10.0, vocabulary=260)
    assert isinstance(named, DraftModelDrafter)  # who names one gets it


@pytest.mark.parametrize("name", [None, OFF])
def test_off_loads_nothing(tiny_folder: Path, byte_tokenizer: Tokenizer, name: str | None) -> None:
    assert draft_model_for(name, tiny_folder, byte_tokenizer, 1.0, vocabulary=260) is None


def test_another_vocabulary_is_refused(tiny_folder: Path, tmp_path: Path, byte_tokenizer: Tokenizer) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_folder, other)
    bpe = tokenizers.Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))
    bpe.add_special_tokens(["<|another|>"])
    bpe.save(str(other / "tokenizer.json"))
    same_vocabulary(Tokenizer.load(tiny_folder), Tokenizer.load(tiny_folder))
    with pytest.raises(PairingError, match="other has another vocabulary"):
        draft_model_for(str(other), tiny_folder, Tokenizer.load(tiny_folder), 1.0, vocabulary=260)


def test_an_engine_with_a_draft_model(tiny_folder: Path) -> None:
    engine = load_engine(tiny_folder, device="cpu", weights="fp32", draft_model=str(tiny_folder))
    assert isinstance(engine.speculator, TreeSpeculator)
    assert engine.speculator._draft_model is not None
    with pytest.raises(UnknownModelError):
        load_engine(tiny_folder, device="cpu", weights="fp32", draft_model="no-such-model")
