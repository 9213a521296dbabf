"""``holefill train terms``: paired rows that go on after a stop, and a verdict that three seeds must agree on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from holefill.evaluation.corpus.ablation import BASE, MEASURES, Row, of_arm, read_rows, verdicts
from holefill.evaluation.corpus.commands import train
from holefill.evaluation.corpus.folder import HELD_OUT, TRAINING
from holefill.model.training.examples import TrainingError, TrainingText, write_texts
from holefill.model.training.labels import Labels, packed_types
from holefill.model.training.trainer import Recipe


def row(arm: str, seed: int, losses: list[float]) -> Row:
    return Row(arm, seed, "s", 1.0, 1.0, dict.fromkeys(MEASURES, losses))


@pytest.mark.parametrize(
    ("falls", "pays"), [([0.1, 0.1, 0.1], True), ([0.1, 0.1], False), ([0.3, 0.3, -0.1], False), ([0.0] * 3, False)]
)
def test_a_term_pays_when_the_loss_falls_with_each_of_three_seeds(falls: list[float], pays: bool) -> None:
    rows = [row(BASE, seed, [1.0, 2.0, 3.0]) for seed in range(3)]
    rows += [row("a=1", seed, [1.0 - fall, 2.0 - fall, 3.0 - fall]) for seed, fall in enumerate(falls)]
    base, arm = verdicts(rows)
    assert (base.pays, arm.pays) == (False, pays)
    assert arm.seeds == len(falls)
    assert arm.differences["loss"].mean == pytest.approx(-sum(falls) / len(falls))


def test_an_arm_is_a_recipe() -> None:
    recipe = Recipe(steps=5)
    assert of_arm(recipe, BASE) == recipe
    assert of_arm(recipe, "base of 2 x3") == replace(recipe, steps=15, candidates=2)
    assert of_arm(recipe, "token_type=0.1+renaming=1 of 2").terms == (("renaming", 1.0), ("token_type", 0.1))
    for wrong in ("base x0", "base of two", "base x2 of 2", ""):
        with pytest.raises(TrainingError, match="--arm"):
            of_arm(recipe, wrong)


def test_the_command_compares_arms_and_goes_on_where_it_was_stopped(tiny_model: Path, tmp_path: Path) -> None:
    texts = [
        TrainingText(f"v{n} = ", f"f({n})", "\n", labels=Labels(packed_types("vv_o_fbnb_"), ((0, 2),)))
        for n in range(8)
    ]
    write_texts(tmp_path / TRAINING, texts)
    write_texts(tmp_path / HELD_OUT, texts[:4])
    rows = tmp_path / "rows.jsonl"
    command = [
        "terms",
        str(tmp_path),
        "--output",
        str(rows),
        "--model",
        str(tiny_model),
        "--steps",
        "2",
        "--seeds",
        "2",
    ]
    arms = ["--arm", BASE, "--arm", "token_type=0.1", "--arm", "base x2"]
    done = CliRunner().invoke(train, [*command, *arms])
    assert done.exit_code == 0, done.output
    assert [(one["arm"], one["seeds"]) for one in json.loads(done.stdout.splitlines()[-1])["arms"]] == [
        (BASE, 2),
        ("token_type=0.1", 2),
        ("base x2", 2),
    ]
    whole = read_rows(rows)
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([*lines[:4], lines[4][:50]]))
    again = CliRunner().invoke(train, [*command, *arms])
    assert again.exit_code == 0, again.output
    assert "token_type=0.1, seed 1" in again.stderr
    assert "seed 0" not in again.stderr
    assert [(one.arm, one.seed, one.values) for one in read_rows(rows)] == [
        (one.arm, one.seed, one.values) for one in whole
    ]
    other = CliRunner().invoke(train, [*command, "--rate", "1e-3"])
    assert "other settings" in other.output
