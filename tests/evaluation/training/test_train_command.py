"""``holefill train``: from packages in a folder to an adapter that its base model takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from holefill.evaluation.corpus.commands import train
from holefill.evaluation.corpus.folder import HELD_OUT, TRAINING
from holefill.model.adapter_file import read_card
from holefill.model.copies import copies_beside
from holefill.model.training.examples import TrainingText, write_texts
from holefill.model.transformer import Transformer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = [TrainingText(f"def f{n}(x):\n    return ", f"x + {n}", "\n") for n in range(12)]
    write_texts(tmp_path / TRAINING, texts[:8])
    write_texts(tmp_path / HELD_OUT, texts[8:])
    (tmp_path / "manifest.json").write_text("{}")
    return tmp_path


def trained(folder: Path, model: Path, *more: str) -> tuple[Result, Path]:
    output = folder / "adapter.safetensors"
    command = ["run", str(folder), "--output", str(output), "--model", str(model), "--threads", "1", "--rank", "4"]
    return CliRunner().invoke(train, [*command, "--batch", "2", "--rate", "0.01", *more]), output


def test_a_run_ends_in_an_adapter_and_one_line_of_json(folder: Path, tiny_model: Path) -> None:
    done, output = trained(folder, tiny_model, "--steps", "12")
    assert done.exit_code == 0, done.output
    line = json.loads(done.stdout.splitlines()[-1])
    assert (line["steps"], line["examples"]) == (12, 24)
    assert sum(line["after"]) < sum(line["before"])
    assert "step 12 of 12" in done.stderr
    assert "other holes" in done.stderr
    assert read_card(output).data == line["data"]
    assert not output.with_suffix(".state.pt").exists()
    Transformer.load(tiny_model, device="cpu", weights="fp32", adapter=output)


def test_minutes_are_turned_into_steps_before_the_first(folder: Path, tiny_model: Path) -> None:
    done, _ = trained(folder, tiny_model, "--minutes", "0.02")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["steps"] >= 2


def test_a_folder_without_data_says_what_to_do(tmp_path: Path, tiny_model: Path) -> None:
    done, _ = trained(tmp_path, tiny_model)
    assert done.exit_code == 1
    assert "holefill train data" in done.output


def test_bf16_and_fp32_are_timed_not_assumed() -> None:
    from holefill.model.training.run import faster_dtype

    assert faster_dtype(torch.device("cpu")) in (torch.float32, torch.bfloat16)


def test_what_was_learned_is_written_down_beside_the_adapter_with_what_it_went_on_from(
    folder: Path, tiny_model: Path
) -> None:
    """Long enough to be a copy: the examples of the fixture are not."""
    ours, earlier = (f"{name} = combine({', '.join(f'{name}_{n}' for n in range(30))})" for name in ("wave", "tide"))
    write_texts(folder / TRAINING, [TrainingText("", earlier, "\n")])
    first = CliRunner().invoke(train, ["copies", str(folder), "--output", str(folder / "first.copies")])
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["bytes"] == (folder / "first.copies").stat().st_size
    start, _ = trained(folder, tiny_model, "--steps", "1")
    assert start.exit_code == 0, start.output
    (folder / "adapter.safetensors").rename(folder / "first.safetensors")
    write_texts(folder / TRAINING, [TrainingText("", ours, "\n")])
    done, output = trained(folder, tiny_model, "--steps", "1", "--start", str(folder / "first.safetensors"))
    assert done.exit_code == 0, done.output
    found = copies_beside(output)
    assert found is not None
    assert found.found(ours)
    assert found.found(earlier)
    assert not found.found(ours.replace("wave", "else"))
