"""What is shown of a cut-off answer closes and parses with the text around it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.context.syntax.parsing import error_bytes, parse
from holefill.context.syntax.repair import repair
from holefill.lsp_server.closing import Closer
from holefill.lsp_server.completion import Reason
from holefill.lsp_server.postprocess import Place, postprocess
from holefill.model.constrain.languages import automaton

# before|after, language, what the engine had said, what is left
CUT = {
    "inside of a call": ("x = |\n", "python", "foo(bar, b", "foo"),
    "behind an operator": ("x = |\n", "python", "a + ", "a"),
    "behind an argument": ("x = foo(|)\n", "python", "a, [b, c", "a,"),
    "inside of a string": ("x = |\n", "python", "'abc", ""),
    "inside of a template": ("const a = |\n", "typescript", "`x ${b", ""),
    "a head without its block": ("def f():\n    |\n    return x\n", "python", "if a:", ""),
    "whole": ("def f():\n    |\n    return x\n", "python", "if a:\n        b()", "if a:\n        b()"),
    "half a word": ("x = |\n", "python", "some_na", "some_na"),
    "block between braces": (
        "function f() {\n  |\n}\n",
        "typescript",
        "if (x) {\n    foo();",
        "if (x) {\n    foo();\n  }",
    ),
    "blocks between braces": (
        "func f() {\n\t|\n}\n",
        "go",
        "for {\n\t\tif x {\n\t\t\tfoo()",
        "for {\n\t\tif x {\n\t\t\tfoo()\n\t\t}\n\t}",
    ),
    "the user is in the middle of an edit": ("x = ]|\n", "python", "foo(", "foo("),
    "a language without a grammar": ("x = |\n", "ruby", "foo(", "foo("),
}


@pytest.mark.parametrize("case", CUT.values(), ids=CUT.keys())
def test_what_is_left(case: tuple[str, str, str, str]) -> None:
    marked, language, said, left = case
    prefix, suffix = marked.split("|")
    assert Closer().part(said, prefix, suffix, language) == left


def test_only_cut_off_answers_are_cut() -> None:
    place = Place("x = ", "\n", "python")
    assert postprocess("foo(bar, b", place) == ("foo(bar, b", Reason.MODEL)
    assert postprocess("foo(bar, b", Place("x = ", "\n", "python", truncated=True)) == ("foo", Reason.MODEL)
    assert postprocess("'abc", Place("x = ", "\n", "python", truncated=True)) == ("", Reason.EMPTY)


CODE = {
    "python": 'def f(a, *b):\n    """Doc."""\n    for x in [a, (1, 2)]:\n        y = g(x, key={"k": f"{x!r}"})\n'
    "        if y and not b:\n            return {z: h(z)[0] for z in y}\n    # it's\n    return a\n",
    "typescript": "export function f(a: number, b?: string): Map<string, number> {\n  const c = [a, { d: `x${b}` }];\n"
    "  if (a > 1 && b) {\n    for (const e of c) {\n      g(e, (h) => h.i(1));\n    }\n    return j['k'];\n  }\n"
    "  return new Map();\n}\n",
    "go": 'package p\n\nfunc f(a []int) (int, error) {\n\tfor i, x := range a {\n\t\tif x > 1 {\n\t\t\tg(x, "a{")\n'
    "\t\t\treturn h(map[string]int{`k`: i}), nil\n\t\t}\n\t}\n\treturn 0, nil\n}\n",
    "java": "class A {\n    int f(List<String> a) {\n        for (String b : a) {\n"
    '            g(b, "x(", new int[] {1});\n        }\n        return a.size() + h(1);\n    }\n}\n',
}


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_every_cut_of_real_code_closes_and_parses(data: st.DataObject) -> None:
    language = data.draw(st.sampled_from(sorted(CODE)))
    text = CODE[language]
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start, len(text)))
    cut = data.draw(st.integers(start, end))
    prefix, said, suffix = text[:start], text[start:cut], text[end:]
    shown = Closer().part(said, prefix, suffix, language)
    assert shown.startswith(said) or said.startswith(shown) or shown.rstrip("}\n\t ") == said.rstrip()
    if shown == said or not shown:
        return  # nothing to cut, nothing to tell, or nothing left
    lexer = automaton(language)
    whole = prefix + shown + suffix
    assert lexer.ends(lexer.run(lexer.begin(), whole.encode()))
    assert error_bytes(parse(language, whole)) <= repair(language, prefix + suffix, start).errors


@pytest.mark.parametrize("language", sorted(CODE))
def test_a_whole_answer_is_left_alone(language: str) -> None:
    text = CODE[language]
    for start in range(0, len(text), 11):
        for end in range(start, len(text), 37):
            assert Closer().part(text[start:end], text[:start], text[end:], language) == text[start:end]


@pytest.mark.parametrize("prefix", ["# \ud83d\nx = ", "# \ud83d\n"])
def test_half_a_character_before_the_cursor_is_read_like_any_other(prefix: str) -> None:
    """Editors send such text while a character of two units is typed; no answer may fail for it."""
    place = Place(prefix, "\ny = 1\n" if prefix.endswith("= ") else "y = 1\n", "python", closes=True)
    assert postprocess("f(a)", place) == ("f(a)", Reason.MODEL)
