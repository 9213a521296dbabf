"""Policies: which row fits which model, what a user's file may say, and writing one."""

from __future__ import annotations

from pathlib import Path

import pytest

from holefill.context.errors import PolicyError
from holefill.context.items import Item, ItemRole
from holefill.context.policy import Policy, policy_for, read_policies, shipped, size_of, write_policy

OWN = Policy(
    "*my-coder*", ("imports", "typed_hole"), 256, "hints", 'runs/a "quoted" name.jsonl', "ES +2.1 [0.4, 3.9]", (1, 8.5)
)


@pytest.mark.parametrize(
    "model",
    ["qwen2.5-coder-0.5b", "/models/Qwen2.5-Coder-1.5B-Instruct-Q4_K_M.gguf", "somebody/unheard-of-7b", ""],
)
def test_no_shipped_row_puts_context_into_a_prompt(model: str) -> None:
    """None has been shown to pay (LOG.md); a row that does needs its run as evidence."""
    assert policy_for(model).budget_tokens == 0
    assert not policy_for(model).admits(Item("x", "imports"))


def test_every_shipped_row_names_its_evidence_and_can_be_reached() -> None:
    assert all(row.evidence for row in shipped())
    assert policy_for("qwen2.5-coder-1.5b") is shipped()[1]
    assert shipped()[-1].model == "*"


@pytest.mark.parametrize(
    ("name", "size"),
    [("qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", 1.5), ("StarCoder2-7B", 7.0), ("mellum-4b-base", 4.0),
     ("codegemma", None), ("gpt-4bit", None)],
)  # fmt: skip
def test_size_is_read_from_the_name(name: str, size: float | None) -> None:
    assert size_of(name) == size


def test_a_users_row_comes_first_and_only_for_its_sizes() -> None:
    assert policy_for("my-coder-7b.gguf", [OWN]) is OWN
    assert policy_for("my-coder-9b", [OWN]).model == "*"
    assert policy_for("my-coder", [OWN]).model == "*"


def test_a_policy_admits_its_providers_in_its_form() -> None:
    assert OWN.admits(Item("f(x)", "typed_hole", role=ItemRole.CALLEE))
    assert not OWN.admits(Item("class A", "typed_hole"))
    assert not OWN.admits(Item("f(1)", "callees_callers", role=ItemRole.EXAMPLE))


def test_written_rows_are_read_again_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "policy.toml"
    assert read_policies(path) == ()
    write_policy(path, OWN)
    other = Policy("*other*", evidence="ünïcode\nline")
    write_policy(path, other)
    assert read_policies(path) == (other, OWN)
    better = Policy(OWN.model, ("similar",), 128, "comments", "b", "", OWN.size_b)
    write_policy(path, better)
    assert read_policies(path) == (better, other)
    assert [file.name for file in path.parent.iterdir()] == ["policy.toml"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[policy", "no TOML"),
        ("x = 1", "rows only"),
        ("policy = 3", "rows only"),
        ("policy = [3]", "row 1: a policy needs a model"),
        ('[[policy]]\nproviders = ["imports"]', "needs a model"),
        ('[[policy]]\nmodel = "*"\nprovider = []', "no such field as provider;"),
        ('[[policy]]\nmodel = "*"\n[[policy]]\nmodel = "*"\nproviders = ["imprts"]', "row 2: no such provider"),
        ('[[policy]]\nmodel = "*"\nproviders = [[1]]', "no such provider"),
        ('[[policy]]\nmodel = "*"\nproviders = "imports"', "no such provider"),
        ('[[policy]]\nmodel = "*"\nbudget_tokens = -1', "from 0 to"),
        ('[[policy]]\nmodel = "*"\nbudget_tokens = true', "from 0 to"),
        ('[[policy]]\nmodel = "*"\nform = []', "no such form"),
        ('[[policy]]\nmodel = "*"\nform = "poem"', "no such form as 'poem'; there are comments"),
        ('[[policy]]\nmodel = "*"\nsize_b = [1]', "two numbers"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_bad_file_says_what_to_change(tmp_path: Path, text: str | bytes, told: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PolicyError, match=told) as caught:
        read_policies(path)
    assert "policy.toml" in str(caught.value)


def test_a_file_with_faults_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("mine = 1")
    with pytest.raises(PolicyError):
        write_policy(path, OWN)
    assert path.read_text() == "mine = 1"
