"""Where each form puts its facts, and that the code around them stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holefill.context.forms import FORMS, Form, Place, annotated, statement_start
from holefill.context.items import Item, ItemRole
from holefill.context.prompt import PromptLimits, build_prompt, choose_format
from tests.context.conftest import ToyTokenizer

CALLEE = Item("add(tool: str) -> None", "typed_hole", role=ItemRole.CALLEE)
MEMBERS = Item("box: Toolbox has add(tool), size", "typed_hole", role=ItemRole.MEMBERS)
EXAMPLE = Item("box.add('saw')", "callees_callers", role=ItemRole.EXAMPLE)
OTHER = Item("class Toolbox", "imports")
ITEMS = [OTHER, EXAMPLE, MEMBERS, CALLEE]


def laid_out(form: str, prefix: str, budget: int = 100) -> str:
    return annotated(FORMS[form], prefix, ITEMS, "#", budget, lambda text: len(text.split()))


@pytest.mark.parametrize(
    ("form", "prefix", "wanted"),
    [
        ("signature", "def f(box):\n    box.add(", "def f(box):\n    # add(tool: str) -> None\n    box.add("),
        (
            "signature",
            "x = [\n  1,\n]\nbox.add(\n    'saw',\n    ",
            "x = [\n  1,\n]\n# add(tool: str) -> None\nbox.add(\n    'saw',\n    ",
        ),
        ("example", "box.add(", "# box.add('saw')\nbox.add("),
        ("members", "box = build()\nbox.", "box = build()  # box: Toolbox has add(tool), size\nbox."),
        ("members", "def f(box: A):\n    box.", "def f(box: A):  # box: Toolbox has add(tool), size\n    box."),
        ("members", "with a as box:\n    box.", "with a as box:  # box: Toolbox has add(tool), size\n    box."),
        ("members", "boxes = 1\nbox.", "boxes = 1\n# box: Toolbox has add(tool), size\nbox."),
        ("members", "if box == 1:\n    box.", "if box == 1:\n    # box: Toolbox has add(tool), size\n    box."),
        (
            "hints",
            "box.add(",
            "# box: Toolbox has add(tool), size\n# add(tool: str) -> None\nbox.add(",
        ),
    ],
)  # fmt: skip
def test_each_form_has_its_place(form: str, prefix: str, wanted: str) -> None:
    assert laid_out(form, prefix) == wanted


def test_what_the_budget_does_not_hold_is_left_out_whole() -> None:
    assert laid_out("hints", "box.add(", budget=5) == "# add(tool: str) -> None\nbox.add("


@given(st.text("ab(){}[]\n ,:=.", max_size=80), st.sampled_from(sorted(FORMS)))
def test_only_comments_are_added(prefix: str, form: str) -> None:
    row = FORMS[form]
    if row.place in (Place.TOP, Place.FILES):
        return
    found = laid_out(form, prefix)
    assert prefix[statement_start(prefix) :] == found[len(found) - len(prefix) + statement_start(prefix) :]
    assert "".join(line.split("#")[0].rstrip() for line in found.split("\n")) == "".join(
        line.rstrip() for line in prefix.split("\n")
    )


def test_a_prompt_in_each_form(tokenizer: ToyTokenizer) -> None:
    prefix = "import tools\n\nbox = tools.build()\nbox.add("
    fmt = choose_format(tokenizer)
    plain = build_prompt(fmt, tokenizer, prefix, ")\n").text
    assert plain == "<|fim_prefix|>" + prefix + "<|fim_suffix|>)\n<|fim_middle|>"
    for name, row in FORMS.items():
        limits = PromptLimits(context_tokens=200, form=name)
        prompt = build_prompt(fmt, tokenizer, prefix, ")\n", ITEMS, limits)
        shown = [item.text for item in ITEMS if row.shows(item)]
        assert all(text in prompt.text for text in shown)
        assert sum(item.text in prompt.text for item in ITEMS) == len(shown)
        assert prompt.text == tokenizer.decode(prompt.ids)
        assert 0 < prompt.context_tokens <= 200


def test_a_form_shows_what_its_roles_say() -> None:
    assert [item.role for item in ITEMS if FORMS["hints"].shows(item)] == ["members", "callee"]
    assert Form(Place.TOP).shows(OTHER)
