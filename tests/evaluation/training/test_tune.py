"""``holefill tune`` on two small repositories: one repeats itself and wins, one teaches nothing and refuses itself."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from holefill.evaluation.adapting import commands, gate
from holefill.evaluation.adapting.commands import tune
from holefill.evaluation.adapting.gate import wins
from holefill.evaluation.adapting.history import history_texts, temporal_split
from holefill.evaluation.adapting.outside import BOUND, outside_texts
from holefill.evaluation.adapting.rungs import shape_of
from holefill.evaluation.git import git
from holefill.evaluation.metrics.bootstrap import paired_difference
from holefill.model import shipped, tuned
from holefill.model.checkpoint import open_checkpoint
from holefill.model.errors import ModelError
from holefill.model.tokenizer import Tokenizer

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOLEFILL_TUNED", str(tmp_path / "tuned"))
    return tmp_path / "tuned"


def repository(folder: Path, body: str) -> Path:
    """Every commit adds a file of the same shape; ``body`` is its line of code, ``@`` a number that differs."""
    folder.mkdir()
    subprocess.run([*GIT, "init", "-q", str(folder)], check=True)
    for number in range(13):
        for file in "abcd":
            lines = (f"def step(job):\n    {body.replace('@', f'{number}{file}{n}')}\n\n" for n in range(5))
            (folder / f"part_{number}{file}.py").write_text("".join(lines))
        subprocess.run([*GIT, "-C", str(folder), "add", "."], check=True)
        subprocess.run([*GIT, "-C", str(folder), "commit", "-q", "-m", f"part {number}"], check=True)
    return folder


@pytest.fixture
def repeating(tmp_path: Path) -> Path:
    return repository(tmp_path / "repeating", "return aaaaaaaaaaaa(@)")


def test_half_of_what_is_learned_is_what_commits_added(repeating: Path, tiny_model: Path) -> None:
    tokenizer = Tokenizer.load(tiny_model)
    split = temporal_split(repeating, tokenizer, commits=13, cases=10, seed=0)
    oldest = git(repeating, "rev-parse", "HEAD~12").strip()
    changes = list(history_texts(repeating, oldest, split.commit, tokenizer, 0))
    assert changes
    assert list(split.texts[: len(changes)]) == changes
    assert len({"".join(text.middle.split()) for text in changes}) == len(changes)
    added = git(repeating, "log", "--format=", "--name-only", f"{oldest}..{split.commit}").split()
    assert {text.source for text in changes} <= set(added)


def tuned_by(path: Path, model: Path, *more: str) -> Result:
    command = [str(path), "--model", str(model), "--threads", "1", "--rank", "8", "--cases", "10"]
    return CliRunner().invoke(tune, [*command, *more])


def last_line(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout.splitlines()[-1]))


@pytest.fixture
def unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of random weights has nothing to unlearn elsewhere; what it learns here shifts its guesses there."""
    monkeypatch.setattr(gate, "BOUND", float("inf"))


def test_training_sees_nothing_of_the_later_commits(repeating: Path, tiny_model: Path) -> None:
    split = temporal_split(repeating, Tokenizer.load(tiny_model), commits=13, cases=10, seed=0)
    learned = {text.source for text in split.texts}
    judged = {case.path for case in split.cases.cases}
    assert learned
    assert judged
    assert not learned & judged


@pytest.mark.usefixtures("unbounded")
def test_a_repository_that_repeats_itself_wins_and_can_be_switched(repeating: Path, tiny_model: Path) -> None:
    model = str(tiny_model)
    line = last_line(tuned_by(repeating, tiny_model, "--steps", "40", "--rate", "0.02"))
    assert line["won"]
    assert line["serves"]
    assert line["es"][1] > 0
    adapter = tuned.serving_adapter(repeating / "src", model)
    assert adapter is not None
    assert adapter.stat().st_size == line["size"]
    assert [path.name for path in sorted(adapter.parent.iterdir())] == [tuned.ADAPTER, tuned.RECORD]
    assert last_line(tuned_by(repeating, tiny_model, "--status"))["serves"]
    assert not last_line(tuned_by(repeating, tiny_model, "--off"))["serves"]
    assert tuned.serving_adapter(repeating, model) is None
    assert last_line(tuned_by(repeating, tiny_model, "--on"))["serves"]
    assert tuned_by(repeating, tiny_model, "--delete").exit_code == 0
    assert tuned.serving_adapter(repeating, model) is None
    assert tuned_by(repeating, tiny_model, "--status").exit_code == 1


def test_an_adapter_that_spoils_other_code_says_so(
    repeating: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (gate, commands):
        monkeypatch.setattr(module, "BOUND", -9.0)
    done = tuned_by(repeating, tiny_model, "--steps", "2")
    line = last_line(done)
    assert not line["won"]
    assert -9.0 < line["outside"] < 9.0
    assert "refused: it unlearns other code" in done.stderr


def test_what_is_outside_is_the_same_every_time_and_nobodys_repository(tiny_model: Path) -> None:
    tokenizer = Tokenizer.load(tiny_model)
    texts = outside_texts(tokenizer, 0)
    assert len(texts) > 20
    assert texts == outside_texts(tokenizer, 0)
    assert texts != outside_texts(tokenizer, 1)


@pytest.mark.usefixtures("unbounded")
@pytest.mark.parametrize("rung", ["last", "full"])
def test_the_other_rungs_of_the_ladder_make_adapters_that_can_be_served(
    rung: str, repeating: Path, tiny_model: Path
) -> None:
    line = last_line(tuned_by(repeating, tiny_model, "--steps", "40", "--rate", "0.01", "--rung", rung))
    assert line["n"] == 10
    assert line["es"][0] > 0


def test_the_ladder_shows_what_each_rung_costs_and_brings(repeating: Path, tiny_model: Path, home: Path) -> None:
    done = tuned_by(repeating, tiny_model, "--steps", "20", "--ladder")
    rungs = last_line(done)["rungs"]
    by_name = {rung["rung"]: rung for rung in rungs}
    assert list(by_name) == ["last", "prefix", "lora", "full"]
    assert by_name["prefix"]["size"] < by_name["lora"]["size"]
    assert by_name["lora"]["size"] < by_name["full"]["size"]
    assert by_name["lora"]["change"]["high"] < 0
    assert all(name in done.stdout for name in by_name)
    assert not home.exists()


def test_a_learned_prefix_is_compared_and_not_served(repeating: Path, tiny_model: Path, home: Path) -> None:
    refused = tuned_by(repeating, tiny_model, "--rung", "prefix")
    assert refused.exit_code == 1
    assert "--ladder" in refused.output
    assert not home.exists()


def test_full_tuning_of_a_real_model_is_refused(tiny_model: Path) -> None:
    config = dataclasses.replace(open_checkpoint(tiny_model).config, layers=20_000)
    assert not shape_of("lora", 2, config).whole
    with pytest.raises(ModelError, match="--rung lora"):
        shape_of("full", 2, config)


def test_an_adapter_that_does_not_win_refuses_itself(repeating: Path, tiny_model: Path) -> None:
    """A rate of next to nothing leaves the model as it is."""
    line = last_line(tuned_by(repeating, tiny_model, "--steps", "2", "--rate", "1e-9"))
    assert not line["won"]
    assert not line["serves"]
    assert tuned.serving_adapter(repeating, str(tiny_model)) is None
    assert not list(tuned.tuned_home().rglob("*.safetensors"))
    refused = tuned_by(repeating, tiny_model, "--on")
    assert refused.exit_code == 1
    assert "did not win" in refused.output


@pytest.mark.usefixtures("unbounded")
def test_it_stands_on_the_adapter_that_comes_with_the_model_and_falls_with_it(
    repeating: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holefill.model.adapter_file import AdapterCard, base_hash, read_card, save_adapter
    from holefill.model.training.network import LoraShape, new_factors
    from holefill.model.transformer import Transformer

    shipped_file = tmp_path / "shipped.safetensors"
    config = Transformer.load(tiny_model, device="cpu", weights="fp32").config
    save_adapter(shipped_file, AdapterCard(base_hash(tiny_model)), new_factors(config, LoraShape(4), 1))
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    for module in (commands, gate, tuned):
        monkeypatch.setattr(module, "shipped_adapter", lambda model: shipped_file)
    assert last_line(tuned_by(repeating, tiny_model, "--steps", "40", "--rate", "0.02"))["serves"]
    adapter = tuned.serving_adapter(repeating, str(tiny_model))
    assert adapter is not None
    assert read_card(adapter).beneath == shipped.file_key(shipped_file)
    save_adapter(shipped_file, AdapterCard(base_hash(tiny_model)), new_factors(config, LoraShape(4), 2))
    assert tuned.serving_adapter(repeating, str(tiny_model)) is None
    assert last_line(tuned_by(repeating, tiny_model, "--status"))["outdated"]
    assert "tune again" in tuned_by(repeating, tiny_model, "--on").output


def test_another_repository_is_not_served(repeating: Path, tmp_path: Path, home: Path) -> None:
    won = tuned.Tuned(str(repeating), "m", True, True, 9, (1.0, 0.5, 2.0), (0.0, 0.0, 0.0), "c", 1.0, 1)
    tuned.save(repeating, won)
    (tuned.folder_of(repeating, "m") / tuned.ADAPTER).write_bytes(b"x")
    assert tuned.serving_adapter(repeating, "m") is not None
    assert tuned.serving_adapter(repeating, "other model") is None
    assert tuned.serving_adapter(tmp_path, "m") is None
    assert tuned.serving_adapter(None, "m") is None
    (tuned.folder_of(repeating, "m") / tuned.RECORD).write_text("{")
    assert tuned.serving_adapter(repeating, "m") is None


def test_a_stopped_run_leaves_nothing_and_delete_takes_what_a_killed_one_left(
    repeating: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "judge", stopped)
    assert tuned_by(repeating, tiny_model, "--steps", "1").exit_code != 0
    folder = tuned.folder_of(repeating, str(tiny_model))
    assert list(folder.iterdir()) == []
    (folder / "fresh.state.pt").write_bytes(b"of a killed one")
    assert tuned_by(repeating, tiny_model, "--delete").exit_code == 0
    assert not folder.exists()
    assert "holefill tune" in tuned_by(repeating, tiny_model, "--delete").output


def test_the_gate_wants_an_interval_above_zero_and_no_fall_of_exact_matches() -> None:
    up = paired_difference([0.0] * 20, [5.0] * 20)
    mixed = paired_difference([0.0] * 20, [9.0, -8.0] * 10)
    down = paired_difference([100.0] * 20, [100.0] * 19 + [0.0])
    flat = paired_difference([0.0] * 20, [0.0] * 20)
    assert wins({"es": up, "em": flat}, outside=0.0)
    assert wins({"es": up, "em": flat}, outside=BOUND)
    assert not wins({"es": up, "em": flat}, outside=BOUND + 0.001)
    assert not wins({"es": mixed, "em": up}, outside=0.0)
    assert not wins({"es": up, "em": down}, outside=0.0)
    assert not wins({"es": flat, "em": flat}, outside=0.0)
    few = paired_difference([0.0] * 3, [5.0] * 3)
    assert not wins({"es": few, "em": few}, outside=0.0)


def test_mistakes_say_what_to_do(tmp_path: Path, tiny_model: Path) -> None:
    empty = tmp_path / "no repository"
    empty.mkdir()
    assert "not a git repository" in tuned_by(empty, tiny_model).output
    both = CliRunner().invoke(tune, ["--on", "--off"])
    assert "give one of" in both.output
