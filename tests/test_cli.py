"""The command line: every command explains itself, and a wrong word gets one line."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from holefill.lsp_server.cli import main

COMMANDS = sorted(importlib.metadata.entry_points(group="holefill.commands").names)


def tree(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from tree(child, (*path, name))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_explained(name: str) -> None:
    (entry,) = importlib.metadata.entry_points(group="holefill.commands", name=name)
    for path, command in tree(entry.load(), (name,)):
        assert command.help or command.short_help, f"{' '.join(path)} has no help"
        options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
        assert not [option.name for option in options if not option.help], f"{' '.join(path)}: option without help"
        result = CliRunner().invoke(main, [*path, "--help"])
        assert result.exit_code == 0
        assert result.output.startswith("Usage:")


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert all(f"  {name}" in result.output for name in COMMANDS)


def test_no_summary_is_cut() -> None:
    for path, command in tree(main, ()):
        if isinstance(command, click.Group):
            lines = CliRunner().invoke(main, [*path, "--help"], terminal_width=80).output.splitlines()
            assert not [line for line in lines[1:] if line.endswith("...")], f"{' '.join(path)}: give it a short_help"


@pytest.mark.parametrize("words", [["no-such-command"], ["model", "no-such-command"], ["model", "pull"]])
def test_a_wrong_word_is_a_usage_error(words: list[str]) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "Error:" in result.output


@pytest.mark.parametrize(("place", "says"), [("3:1", "2 lines"), ("0:0", "from 1"), ("1:7", "no column 7 in line 1")])
def test_a_place_outside_of_the_file_is_said_before_a_model_is_loaded(place: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    result = CliRunner().invoke(main, ["complete", f"{tmp_path / 'a.py'}:{place}", "--model", "/no/such/model"])
    assert result.exit_code == 1
    assert says in result.output
    assert "/no/such/model" not in result.output


@pytest.mark.parametrize("words", [["path", "nothing"], ["pull", "nothing"], ["remove", "nothing"], ["add", "m", "x"]])
def test_model_errors_are_one_line(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    home = str(tmp_path_factory.mktemp("home"))
    result = CliRunner().invoke(main, ["model", *words], env={"HOLEFILL_HOME": home})
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert len(result.output.splitlines()) == 1


def test_model_list_shows_what_to_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = str(tmp_path_factory.mktemp("home"))
    result = CliRunner().invoke(main, ["model", "list"], env={"HOLEFILL_HOME": home})
    assert result.exit_code == 0
    assert "qwen2.5-coder-0.5b (default)" in result.output
    assert "holefill model pull qwen2.5-coder-0.5b" in result.output


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.output.strip().endswith(importlib.metadata.version("holefill"))


@pytest.mark.model
def test_the_example_is_completed_by_what_its_other_file_says(default_model_path: Path) -> None:
    """As served, with nothing of the other file in the prompt: the mask knows its members."""
    result = CliRunner().invoke(main, ["complete", "--example", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.strip().split("\n")[-1])
    assert (told["text"], told["context"]) == ("put_on_hold(sku, quantity)", [])
    shown = CliRunner().invoke(main, ["complete", "--example"]).output
    assert "what can stand here: put_on_hold, release_hold, shelves or " in shown


@pytest.mark.model
def test_a_doctor_finds_every_link_whole(default_model_path: Path) -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0, result.output
    said = [line.split(":")[0].split() for line in result.output.splitlines()]
    assert {state for state, *_ in said} == {"ok"}
    assert {" ".join(name) for _, *name in said} >= {"python", "load", "known hole", "types", "editors"}


def test_a_doctor_says_of_a_broken_link_what_to_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = str(tmp_path_factory.mktemp("home"))
    result = CliRunner().invoke(main, ["doctor"], env={"HOLEFILL_HOME": home})
    assert result.exit_code == 1
    failed = {
        line.split(":")[0].removeprefix("fail").strip(): line
        for line in result.output.splitlines()
        if line.startswith("fail")
    }
    assert failed.keys() == {"model files", "tokenizer", "load", "known hole"}
    assert "holefill model pull qwen2.5-coder-0.5b" in failed["model files"]
