"""Real code lexes to its end; every kind of mistake the constraint exists for is seen."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from holefill.model.constrain.languages import LANGUAGES, automaton

GOOD = {
    "python": (
        "x = f\"{a[\"b\"]!r:>{width}} {{}} \\N{DASH}\" f'''{\n1}'''\n",
        "def f(a: int,\n  b) -> str:  # it's\n    if a:\n\n      # out of place\n        pass\n    return rb'\\''\n",
        'class A:\n\tx = {"a": [1, (2)]}\n\ty = """a\n"" b\n"""\nz = 1 \\\n  + 2\n',
        "for x in y: pass\nelse:\n  f''\n",
        "t = f'{x:%H:%M}' + f'{ {1: 2}[1] }' + f'{x!r}'\r\nif x:\r\n  y\r\n",
    ),
    "typescript": (
        "const a = b / c / d; const r = /[/'\"]\\/(/g.test(x) ? `a${`${b}`}}` : 'it\\'s';\n",
        'if (a) /re(/.exec(b); x = (a + b) / 2; y = a[0] / 2; i++ / 2;\nreturn /"/;\n',
        "function f<T extends Array<string>>(x: T): x is T { return x!; } // it's\n/* ' */\n",
    ),
    "tsx": (
        'const a = <div className="x" {...p} on={() => f({a: 1})}>Don\'t {b ? <b/> : `x`} <br /></div>;\n',
        "const g = <T,>(x: T) => x < 3; const h = a < b && c > d;\nreturn (\n  <>it's</>\n);\n",
        "const s = <Select<Option> value={1} /* it's */>a</Select>;\n",
    ),
    "javascript": (
        "#!/usr/bin/node\nconst x = a ? <p>it's</p> : null; class A { #b = 1; get [c]() { return this.#b / 2 } }\n",
    ),
    "java": (
        'class A { char c = \'"\'; String s = """\n it\'s "quoted" {\n"""; /* \' */ int[] x = {1, \'\\\'\'}; }\n',
    ),
    "csharp": (
        'var s = $"{a["b"]} {{ {f(x)}"; var v = @"c:\\"; var w = $@"a""{x}"; char c = \'"\';\n',
        "#region it's\nclass A {\n#if X\n  int x;\n#endif\n}\n#endregion\n",
        'var r = """\n  "a" { \n""";\n',
    ),
    "go": ("func f() rune { s := `a\n\"`; return '\\'' } // it's\n",),
    "rust": (
        "fn f<'a>(x: &'a str) -> char { let r = r#\"a\"b\"#; match c { '\"' => '\\'', '{' => 'é' } } /* /* ' */ */\n",
        'let s = "a\nb"; let b = b\'"\'; r#type = 1;\n',
    ),
    "c": (
        "#define X(a) { it's \\\n  ( \n#include <a.h>\nint f(void) { return '\"'; } /* ' */\n",
        "#define Y { \\\n 1, /* it's */ \\\n }, /* ' */ { \\\n\nint x;\n",
    ),
    "cpp": (
        "int x = 1'000'000; auto c = L'\"'; auto s = R\"x(\"()x\"; } } (\n",
        "template<class T> void f() { a << b; }\n",
    ),
}
BAD = {
    "python": (
        "x = (1]\n",
        "x = 'a\n",
        "if x:\ny\n",
        "if x:\n    y\n  z\n",
        "  x\n y\n",
        "x = f'{a]}'\n",
        "x = )\n",
        "x = ?\n",
    ),
    "typescript": ("f(]", "x = 'a\n'", "`${a]}`", "}", "x = /a\n/"),
    "tsx": ("<div>{a)}</div>", "const a = f(<b>it's</b>];\n"),
    "java": ("int x = (1];", 'String s = "a\n";', "}"),
    "go": ("x := (1}", 's := "a\n"'),
    "rust": ("fn f() { (] }",),
    "csharp": ("f(];", 'var s = $"{a]}";'),
    "c": ("f(];", 'char *s = "a\n";'),
}
UNFINISHED = {
    "python": ("x = (1\n", 'x = """a\n', "f'{a"),
    "typescript": ("f(", "`a", "{", "/* a"),
    "tsx": ("<div>it's\n",),
    "java": ('"""a', "{"),
    "rust": ("/* /* */", 'r#"a"'),
    "c": ("{",),
}


def _cases(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(language, text) for language, texts in table.items() for text in texts]


def test_every_language_has_examples() -> None:
    assert set(GOOD) == set(LANGUAGES)


@pytest.mark.parametrize(("language", "text"), _cases(GOOD))
def test_real_code_lexes_and_closes(language: str, text: str) -> None:
    lexer = automaton(language)
    assert lexer.ends(lexer.run(lexer.begin(), text.encode()))


@pytest.mark.parametrize(("language", "text"), _cases(BAD))
def test_a_mistake_is_seen_where_it_is(language: str, text: str) -> None:
    lexer = automaton(language)
    assert not lexer.run(lexer.begin(), text.encode())


@pytest.mark.parametrize(("language", "text"), _cases(UNFINISHED))
def test_what_is_left_open_does_not_end(language: str, text: str) -> None:
    lexer = automaton(language)
    state = lexer.run(lexer.begin(), text.encode())
    assert state
    assert not lexer.ends(state)


def test_the_standard_library_lexes() -> None:
    lexer = automaton("python")
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[::6]
    assert len(files) > 20
    for file in files:
        assert lexer.ends(lexer.run(lexer.begin(), file.read_bytes())), file


def test_any_split_of_the_text_gives_the_same_state() -> None:
    lexer = automaton("python")
    text = GOOD["python"][0].encode()
    begin = lexer.begin()
    bytewise = begin
    for at in range(len(text)):
        bytewise = lexer.run(bytewise, text, at, at + 1)
        assert bytewise == lexer.run(begin, text[: at + 1])
