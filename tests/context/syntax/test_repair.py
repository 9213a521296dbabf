"""Hole repair: in every language, an unclosed call in a method must not hide the definitions after it."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.context.syntax import repair as module
from holefill.context.syntax.definitions import definitions
from holefill.context.syntax.languages import LANGUAGES, language_of
from holefill.context.syntax.parsing import parse
from holefill.context.syntax.repair import SENTINEL, repair, variants

TABLE = {
    "python": (
        "class A:\n    def one(self):\n        return print(max(1, |\n\n    def two(self):\n        pass\n\n\n"
        "def three():\n    pass\n",
        {"A", "A.one", "A.two", "three"},
    ),
    "typescript": (
        "class A {\n  one(): void {\n    console.log(Math.max(1, |\n  }\n  two(): void {}\n}\nfunction three() {}\n",
        {"A", "A.one", "A.two", "three"},
    ),
    "tsx": (
        "class A {\n  one() {\n    use([{ a: |\n  }\n  two() {}\n}\nfunction three() {}\n",
        {"A", "A.one", "A.two", "three"},
    ),
    "javascript": (
        "class A {\n  one() {\n    run(() => { go(|\n  }\n  two() {}\n}\nfunction three() {}\n",
        {"A", "A.one", "A.two", "three"},
    ),
    "java": (
        "class A {\n  void one() {\n    System.out.println(Math.max(1, |\n  }\n"
        "  void two() {}\n  int three() { return 1; }\n}\n",
        {"A", "A.one", "A.two", "A.three"},
    ),
    "go": (
        "package a\n\nfunc one() {\n\tfmt.Println(max(1, |\n}\n\ntype T struct{ x int }\n\nfunc (t *T) two() {}\n",
        {"one", "T", "T.x", "T.two"},
    ),
    "rust": (
        "struct A { x: i32 }\nimpl A {\n    fn one(&self) {\n        call(max(1, |\n    }\n"
        "    fn two(&self) {}\n}\nfn three() {}\n",
        {"A", "A.x", "A.one", "A.two", "three"},
    ),
    "csharp": (
        "namespace N {\n  class A {\n    void One() {\n      Console.WriteLine(Math.Max(1, |\n    }\n"
        "    void Two() {}\n  }\n}\n",
        {"N", "N.A", "N.A.One", "N.A.Two"},
    ),
    "c": (
        'int one(void) {\n  printf("%d", max(1, |\n}\nint two(void) { return 1; }\nstruct S { int x; };\n',
        {"one", "two", "S", "S.x"},
    ),
    "cpp": (
        "class A {\n  void one() {\n    call(max(1, |\n  }\n  void two() {}\n};\nint three() { return 1; }\n",
        {"A", "A.one", "A.two", "three"},
    ),
}
# language, text with | at the hole, what must be inserted after the sentinel
INSERTED = [
    ("python", "foo(|)\n", ""),
    ("python", "if |\n    pass\n", ":"),
    ("python", "def g():\n    while foo(|\n", "): pass"),
    ("python", "x = [1, |\ny = 2\n", "]"),
    ("python", "f(\n    a,\n    |\n    b,\n)\n", ","),
    ("python", "x = 'abc|\ny = 1\n", "'"),
    ("python", 'x = f"{a.|\ny = 1\n', '}"'),
    ("python", "x = f'{a[f(b.|\ny = 1\n", ")]}'"),
    ("python", 'x = f"{{a.|\ny = 1\n', '"'),
    ("python", 'x = "{a.|\ny = 1\n', '"'),
    ("python", 'x = f"{a} and {b.|"\n', "}"),
    ("python", 'x = f"{a.|}"\n', ""),
    ("python", '"""doc |\nmore"""\nx = 1\n', ""),
    ("python", "# note (|\nx = 1\n", ""),
    ("typescript", "const x = foo(|\nconst y = 1\n", ");"),
    ("typescript", "function f() {\n  if (a|\n}\n", ") {}"),
    ("typescript", "const x = {\n  a: |\n  b: 2,\n}\n", ""),
    ("java", "class A {\n  void |\n    int x = 1;\n  }\n}\n", "() {"),
]


@pytest.mark.parametrize("language", sorted(TABLE))
def test_definitions_survive_an_unclosed_call(language: str) -> None:
    marked, expected = TABLE[language]
    offset = marked.index("|")
    fixed = repair(language, marked.replace("|", "", 1), offset)
    assert {known.qualified for known in definitions(fixed.parsed)} == expected
    assert fixed.text[fixed.hole :].startswith(SENTINEL + fixed.inserted)
    assert fixed.errors == 0


def test_without_repair_some_are_lost() -> None:
    lost = 0
    for language, (marked, expected) in TABLE.items():
        found = {known.qualified for known in definitions(parse(language, marked.replace("|", "", 1)))}
        lost += not expected <= found
    assert lost >= 5  # else the table above proves nothing


@pytest.mark.parametrize(("language", "marked", "inserted"), INSERTED)
def test_what_is_inserted(language: str, marked: str, inserted: str) -> None:
    offset = marked.index("|")
    assert repair(language, marked.replace("|", "", 1), offset).inserted == inserted


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(alphabet="ab(){}[]\"'`\n :;,=.#/*é", max_size=80),
    cut=st.floats(0, 1),
    language=st.sampled_from(sorted(LANGUAGES)),
)
def test_total_on_any_text(text: str, cut: float, language: str) -> None:
    offset = int(cut * len(text))
    assert 1 <= len(variants(language, text, offset)) <= 4
    fixed = repair(language, text, offset)
    assert fixed.text == f"{text[:offset]}{SENTINEL}{fixed.inserted}{text[offset:]}"
    assert fixed.parsed.source == fixed.text.encode()


@pytest.mark.parametrize("repository", ["click", "vue_core", "gin", "wechatpay_java"])
def test_definitions_survive_on_real_code(shared_data: Path, repository: str) -> None:
    """The rest of the line after an opening parenthesis is deleted: ≥ 98 % of definitions must stay."""
    rng = random.Random(3)
    with gzip.open(shared_data / f"{repository}_files.jsonl.gz", "rt") as rows:
        files = [row for row in map(json.loads, rows) if language_of(row["path"]) in LANGUAGES]
    kept = expected = 0
    for row in rng.sample(files, 40):
        language, source = language_of(row["path"]), row["content"]
        places = [match.end() for match in re.finditer(r"\w\(", source)]
        if not places:
            continue
        at = rng.choice(places)
        end = source.find("\n", at)
        broken = source[:at] + source[end if end >= 0 else len(source) :]
        whole = {known.qualified for known in definitions(parse(language, source))}
        found = {known.qualified for known in definitions(repair(language, broken, at).parsed)}
        kept += len(whole & found)
        expected += len(whole)
    assert kept >= 0.98 * expected


def test_many_blank_lines_before_a_closer_are_read_once() -> None:
    """A pattern that may split them anywhere would not end in a year."""
    text = f"call(1,{chr(10) * 200})\n"
    fixed = repair("python", text, 7)
    assert fixed.text.startswith("call(1,_hole_\n")
    assert fixed.errors == 0


DOCSTRINGS = """class Shown:
    def first(self):
        \'\'\'An example::

            def inner(a, (b
        \'\'\'
        return call(self, [1, 2])

    async def second(self, limit):
        text = \'\'\'
    def quoted(
\'\'\'
        return text.format(limit, {"a": (1, 2)})
"""


def test_only_the_block_around_the_cursor_is_read_and_that_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the whole statement, at every character of valid code."""
    own = Path(module.__file__).read_text()
    text = own + DOCSTRINGS
    places = [*range(0, len(own), 23), *range(len(own), len(text))]
    found = [variants("python", text, at) for at in places]
    monkeypatch.setattr(module, "_of_block", lambda row, before: before)
    monkeypatch.setattr(module, "_before_next_block", lambda row, after: after)
    assert found == [variants("python", text, at) for at in places]


def test_a_bracket_left_open_above_a_function_is_not_closed_in_it() -> None:
    text = "class A:\n    x = call(1, \n\n    def f(self):\n        return g(|\n\n    def h(self):\n        return 1)\n"
    at = text.index("|")
    assert variants("python", text.replace("|", ""), at)[0] == ")"
