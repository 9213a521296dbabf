"""Brackets that another statement left open are not the cursor's to close; those of its own are."""

from __future__ import annotations

import pytest

from holefill.lsp_server.edits import unfinished_elsewhere

HERE = {
    "a call": ("x = f(|\n", "python"),
    "a call over lines": ("x = f(\n    a,\n    [\n        b,\n        |\n", "python"),
    "a closer on its own line": ("x = f(\n    {\n        1\n    },\n    |\n", "python"),
    "blank lines and a string": ("x = [\n\n    'a',\n\n    |\n", "python"),
    "the head of a block": ("function f() {\n  if (|\n    g()\n  }\n}\n", "typescript"),
    "a literal's beginning": ('x = gin.|\n\t"a": 1,\n}\n', "go"),
    "nothing open": ("x = 1\n|\ny = 2\n", "python"),
}
ELSEWHERE = {
    "a call above": ("f(\nx = 1\ny = |\n", "python"),
    "a call above, in a function": ("def g():\n    f(a,\n    x = 1\n    y = |\n\nz = 1\n", "python"),
    "a block above": ("function f() {\n  if (a) {\n  g()\n  |\n}\n", "typescript"),
    "a closer below": ("x = |\ny = 1\n)\n", "python"),
    "a closer of another depth": ("def g():\n    x = |\n]\n", "python"),
}


@pytest.mark.parametrize(("marked", "language"), HERE.values(), ids=HERE.keys())
def test_the_cursors_own(marked: str, language: str) -> None:
    prefix, suffix = marked.split("|")
    assert not unfinished_elsewhere(prefix, suffix, language)


@pytest.mark.parametrize(("marked", "language"), ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_another_statements(marked: str, language: str) -> None:
    prefix, suffix = marked.split("|")
    assert unfinished_elsewhere(prefix, suffix, language)
