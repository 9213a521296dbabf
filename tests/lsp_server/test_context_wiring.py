"""From settings and policies to what is asked and what the prompt shows."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

import pytest

from holefill.context.errors import PolicyError
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor, Item, Pack
from holefill.context.policy import ASKED_FOR, Policy, write_policy
from holefill.context.provider import Deadline
from holefill.context.providers import PROVIDERS
from holefill.lsp_server import connect
from holefill.lsp_server.completion import Completion, Reason, Receipt
from holefill.lsp_server.config import Settings
from holefill.lsp_server.receipts import listed, markdown
from tests.context.conftest import ToyTokenizer


@pytest.fixture
def policy_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config" / "policy.toml"
    monkeypatch.setattr(connect, "user_policy_file", lambda: path)
    return path


def test_the_users_row_then_ours_and_the_setting_above_both(policy_file: Path) -> None:
    assert connect.context_policy(Settings()).budget_tokens == 0
    asked = connect.context_policy(Settings(context_tokens=256))
    assert (asked.budget_tokens, asked.providers) == (256, ASKED_FOR)
    write_policy(policy_file, Policy("qwen2.5-coder-0.5b", ("similar",), 128, "comments"))
    own = connect.context_policy(Settings())
    assert (own.budget_tokens, own.providers) == (128, ("similar",))
    assert connect.context_policy(Settings(model="qwen2.5-coder-1.5b")).budget_tokens == 0
    assert connect.context_policy(Settings(context_tokens=0)).budget_tokens == 0
    policy_file.write_text("[[policy]]\nmodel = 3\n")
    with pytest.raises(PolicyError, match=r"policy\.toml, row 1"):
        connect.context_policy(Settings())


@pytest.fixture
def index(tmp_path: Path) -> WorkspaceIndex:
    (tmp_path / "tools.py").write_text("class Box:\n    def add(self, tool: str) -> None: ...\n")
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    return index


def gathered(index: WorkspaceIndex, policy: Policy, off: Collection[str], budget: int) -> Pack:
    context = connect.RepositoryContext(lambda root: index, ToyTokenizer(), policy, off, patient=True)
    prefix = "from tools import Box\n\n\ndef f(box: Box):\n    box."
    cursor = Cursor(str(index.root / "new.py"), prefix, CharOffset(len(prefix)), "python", str(index.root))
    try:
        pack = context(cursor, budget, Deadline.after_ms(10_000))
        until = time.monotonic() + 10
        while not pack.facts and time.monotonic() < until:
            time.sleep(0.5)  # typing rests
            pack = context(cursor, budget, Deadline.after_ms(10_000))
        return pack
    finally:
        context.close()


def test_the_prompt_shows_the_policys_providers_and_everything_is_known(index: WorkspaceIndex) -> None:
    pack = gathered(index, Policy("*", ("imports",), 200), (), 200)
    assert {item.source for item in pack.items} == {"imports"}
    assert {"imports", "typed_hole"} <= {item.source for item in pack.facts}


def test_without_a_budget_the_facts_come_all_the_same(index: WorkspaceIndex) -> None:
    pack = gathered(index, Policy("*"), PROVIDERS.keys() - {"imports"}, 0)
    assert pack.items == ()
    assert {item.source for item in pack.facts} == {"imports"}


def test_a_provider_turned_off_says_nothing(index: WorkspaceIndex) -> None:
    pack = gathered(index, Policy("*", ("imports", "typed_hole"), 200), ("imports",), 200)
    assert {item.source for item in pack.items} == {"typed_hole"}


def test_the_receipt_names_what_was_known_and_none_of_its_code() -> None:
    facts = (Item("def secret_name(): ...", "imports"), Item("def other(): ...", "imports"), Item("x", "typed_hole"))
    told = markdown(Completion("x", Reason.MODEL, Receipt(pack=Pack(facts=facts))))
    assert "- known besides, for drafts: 2 from imports, 1 from typed_hole" in told
    assert "secret_name" not in told


def test_the_receipt_lists_a_few_of_the_names_that_could_stand_there() -> None:
    assert listed(("put", "__init__", "count")) == "put, count or 1 more"
    assert listed(("__init__",)) == "__init__"
    told = markdown(Completion("put()", Reason.MODEL, Receipt(names=("put",))))
    assert "had to begin with: put" in told
