"""`holefill train acceptance`: from texts to a head, and a stopped run goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from holefill.evaluation.corpus.commands import train
from holefill.evaluation.corpus.folder import HELD_OUT, MANIFEST, TRAINING
from holefill.model.adapter_file import base_hash
from holefill.model.spec.acceptance import load_head
from holefill.model.training.examples import TrainingText, write_texts


def _data(folder: Path, texts: int) -> Path:
    folder.mkdir()
    written = [TrainingText(f"value{at} = ", "1", "\nprint()\n") for at in range(texts)]
    write_texts(folder / TRAINING, written)
    write_texts(folder / HELD_OUT, written[:3])
    (folder / MANIFEST).write_text("{}\n", "utf-8")
    return folder


def test_a_head_is_trained_and_what_was_recorded_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "head.safetensors"
    options = ["--output", output, "--target", tiny_model, "--draft", tiny_model, "--prompts", 5, "--tokens", 4]
    arguments = ["acceptance", *map(str, [_data(tmp_path / "data", 8), *options])]
    first = CliRunner().invoke(train, arguments)
    assert first.exit_code == 0, first.output
    line = json.loads(first.stdout.splitlines()[-1])
    assert line["accepted"] == 1.0  # a model agrees with itself
    head = load_head(output, base_hash(tiny_model), base_hash(tiny_model))
    assert head.card.pairs == line["pairs"] > 0
    assert len(head.card.data) == 32
    again = CliRunner().invoke(train, arguments)
    assert json.loads(again.stdout.splitlines()[-1]) == line
    assert "prompts" not in again.stderr  # nothing was recorded anew


def test_what_is_missing_is_said(tiny_model: Path, tmp_path: Path) -> None:
    data = _data(tmp_path / "data", 2)
    options = ["--output", str(tmp_path / "h"), "--target", str(tiny_model), "--draft", str(tiny_model)]
    (data / MANIFEST).unlink()
    failed = CliRunner().invoke(train, ["acceptance", str(data), *options])
    assert failed.exit_code != 0
    assert "holefill train data" in str(failed.exception) + failed.output
