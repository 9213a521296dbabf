"""Arms by name, what ``--context``, ``--providers`` and ``--form`` make of them, and that each reaches the prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.providers import PROVIDERS
from holefill.evaluation.arms import ARMS, GROUPS, Arm, Repositories, arm_named
from holefill.evaluation.cases import Case, DataError
from holefill.evaluation.commands import RunOptions
from holefill.evaluation.suites.registry import PromptPolicy
from holefill.lsp_server.completion import CompleterOptions, Fit
from tests.context.conftest import ToyTokenizer


def options(context: str, providers: str = "", form: str | None = None) -> RunOptions:
    return RunOptions(None, 0, "m", context, None, None, False, False, providers=providers, form=form)


def test_groups_are_made_of_arms() -> None:
    for names in GROUPS.values():
        assert all(name == "off" or isinstance(arm_named(name), Arm) for name in names)
    assert GROUPS["add-one-in"] == ("off", *PROVIDERS)
    assert all(
        set(PROVIDERS) - set(ARMS[name].providers) == {name.removeprefix("without-")}
        for name in GROUPS["leave-one-out"][1:]
    )


@pytest.mark.parametrize(
    ("given", "arms"),
    [
        (("off",), ("off",)),
        (("both",), ("off", "on")),
        (("off,bm25,gold",), ("off", "bm25", "gold")),
        (("both", "similar,imports"), ("off", "similar+imports")),
        (("both", "", "hints"), ("off", "imports+class_signatures+similar+recent_edits+typed_hole:hints")),
        (("on", "typed_hole", "signature"), ("typed_hole:signature",)),
        (("off,forms",), ("off", "signature", "members", "example", "hints")),
    ],
)
def test_what_is_compared(given: tuple[str, ...], arms: tuple[str, ...]) -> None:
    assert options(*given).arms == arms


@pytest.mark.parametrize("name", ["nothing", "imports+nothing", "imports:poem", ""])
def test_unknown_arms_say_what_there_is(name: str) -> None:
    with pytest.raises(DataError, match=r"there are .*(imports|comments)"):
        arm_named(name)


@pytest.fixture
def index(tmp_path: Path) -> WorkspaceIndex:
    files = {
        "tools.py": "class Box: ...\n\ndef build(name: str) -> Box:\n    return Box()\n",
        "use.py": "from tools import build\n\nkept = build('kept box')\n",
    }
    for path, text in files.items():
        (tmp_path / path).write_text(text)
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    return index


@pytest.mark.parametrize(
    ("arm", "wanted"),
    [
        ("gold", "def build(name: str) -> Box:\n    return Box()"),
        ("wrong", "kept = build('kept box')"),
        ("imports", "def build(name: str) -> Box"),
        ("signature", "build(name: str) -> Box"),
        ("example", "kept = build('kept box')"),
    ],
)
def test_an_arm_gathers_its_own_items_only(index: WorkspaceIndex, arm: str, wanted: str) -> None:
    prefix = "from tools import build\n\nbox = build("
    cursor = Cursor(str(index.root / "new.py"), prefix + ")\n", CharOffset(len(prefix)), "python", str(index.root))
    case = Case("1", "python", "new.py", prefix, "'a'", ")\n", cross_names=("build",))
    repositories = Repositories()
    gather = repositories.gather(ARMS[arm], case, index, cursor, ToyTokenizer())
    try:
        texts = [item.text for item in gather(cursor, 400, Deadline.after_ms(5000)).items]
    finally:
        gather.close()
        repositories.close()
    assert wanted in texts
    assert len(texts) == 1


def test_the_command_line_changes_what_it_names_of_a_suites_prompt() -> None:
    usual = PromptPolicy(400, 64, 96, context_tokens=300)
    assert options("off").policy(usual) == usual
    changed = replace(options("off"), suffix_tokens=0, no_stop_rule=True)
    assert changed.policy(usual) == replace(usual, suffix_tokens=0, stop_rule=False)
    assert changed.note == "without the product's stop rule, 0 tokens after the hole"
    assert replace(options("off"), context_tokens=0).policy(usual).context_tokens == 0


def test_keystrokes_are_timed_with_what_the_command_line_says() -> None:
    assert options("off").as_in_an_editor == CompleterOptions()
    changed = replace(options("off"), fit="off", prefix_tokens=100, no_heal=True)
    assert changed.as_in_an_editor == CompleterOptions(fit=Fit.OFF, prefix_tokens=100, heal=False)
