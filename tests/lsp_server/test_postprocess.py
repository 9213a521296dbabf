"""What the user sees: examples from editors, and properties that accepting a suggestion must keep."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.lsp_server.brackets import OPENERS, around, unmatched_closers, unmatched_openers
from holefill.lsp_server.completion import Reason
from holefill.lsp_server.loops import find_loop
from holefill.lsp_server.postprocess import Place, postprocess

# before|after (the cursor is the bar), language, what the engine said, what is shown (None: all of it)
SHOWN: dict[str, tuple[str, str, str, str | None]] = {
    "closer is there": ("print(|)", "python", "name)", "name"),
    "closer is missing": ("print(|\n", "python", "name)", "name)"),
    "inner closer is missing": ("f(g(|)", "python", "x)", "x)"),
    "inner and outer": ("f(g(|)", "python", "x))", "x)"),
    "outer closer is missing": ("f({|}\n", "python", "'a': 1)", "'a': 1"),
    "own call before the closer": ("print(|)", "python", "len(x))", "len(x)"),
    "inner brackets are the hole's": ("f({'a': g([(|),}, y=1)\n", "python", "x) for x in y]", "x) for x in y]"),
    "closer and colon": ("def f(|):", "python", "a, b):", "a, b"),
    "quote is there": ('open("|")', "python", 'data.txt")', "data.txt"),
    "bracket in a string": ("print(|)", "python", '")" + x)', '")" + x'),
    "bracket in a comment": ("x = [|]", "python", "1]  # )", "1"),
    "brace reopened": (
        "if (a) {\n  b();\n|\n} else {\n  c();\n}\n",
        "javascript",
        "} else if (d) {",
        "} else if (d) {",
    ),
    "block end is there": ("function f() {\n  |\n}\n", "javascript", "return 1;\n}", "return 1;"),
    "semicolon is there": ("let x = |;", "typescript", "1;", "1"),
    "word overlap": ("x = |value + 1", "python", "other_value", "other_value"),
    "separating space": ("return |or None", "python", "name ", "name "),
    "trailing space": ("x = |\n", "python", "1  \n", "1"),
    "next line": ("a = 1\n|\nc = 3\n", "python", "b = 2\nc = 3\nd = 4", "b = 2"),
    "leading newline on a blank line": ("def f():\n    |\n", "python", "\n    return 1", "return 1"),
    "newline after a whole line": ("x = 1|\n", "python", "\ny = 2", "\ny = 2"),
    "loop of the model": ("|\n", "python", "a()\na()\na()\na()", "a()"),
    "loop in the last line": ("|\n", "python", "a = 1\nb = " + "0, " * 30, "a = 1"),
    "loop of lines with blank ones": ("|\n", "python", "a = 1\n" + "step()\n\n" * 12, "a = 1\nstep()"),
    "loop of two lines": ("|\n", "python", "x()\n" + "    aa()\n    bb()\n" * 8, "x()\n    aa()\n    bb()"),
    "a ruler is no loop": ("|\n", "python", "# " + "-" * 76, "# " + "-" * 76),
    "seven times is no loop": ("|\n", "python", "y = 'abcdefghij'" + " + longer_name" * 7, None),
    "a table that goes on": ("T = [\n    " + "0, " * 24 + "\n    |\n]\n", "python", "0, " * 23 + "0,", None),
    "rust lifetime": ("fn f<'a>(x: &'a str|) {}\n", "rust", ", y: &'a str)", ", y: &'a str"),
    "windows newlines": ("x = 1|\r\n", "python", "\r\ny = 2\r\n", "\ny = 2"),
}
NOTHING = {
    "blank": ("x = |\n", "  \n ", Reason.EMPTY),
    "next line again": ("a = 1\n|\nb = 2\n", "b = 2", Reason.DUPLICATE),
    "rest of the typed line is the next line": ("    ret|\n    return x\n", "urn x", Reason.DUPLICATE),
    "only the closer": ("f(x|)", ")", Reason.DUPLICATE),
    "loop": ("def f():\n    |\n", "return 1" + "0" * 400, Reason.LOOP),
    "only what follows": ("x = |value\n", "value", Reason.DUPLICATE),
}


def place(marked: str, language: str = "python") -> Place:
    prefix, suffix = marked.split("|")
    return Place(prefix, suffix, language)


@pytest.mark.parametrize("case", SHOWN.values(), ids=SHOWN.keys())
def test_shown(case: tuple[str, str, str, str | None]) -> None:
    marked, language, said, shown = case
    assert postprocess(said, place(marked, language)) == (said if shown is None else shown, Reason.MODEL)


@pytest.mark.parametrize("case", NOTHING.values(), ids=NOTHING.keys())
def test_nothing_to_show(case: tuple[str, str, Reason]) -> None:
    marked, said, reason = case
    assert postprocess(said, place(marked)) == ("", reason)


def test_truncated_block_ends_at_a_whole_line() -> None:
    cut = Place("def f():\n    ", "\n", "python", truncated=True)
    assert postprocess("a = 1\n    b = 2\n    c = so", cut)[0] == "a = 1\n    b = 2"


@pytest.mark.parametrize(("truncated", "reason"), [(True, Reason.LOOP), (False, Reason.MODEL)])
def test_a_loop_is_called_one_sooner_where_the_answer_was_cut_off(truncated: bool, reason: Reason) -> None:
    """An address of zeros ends by itself."""
    where = Place("owner = '", "'\n", "python", truncated=truncated)
    assert postprocess("0x" + "0" * 40, where)[1] is reason


@settings(max_examples=300, deadline=None)
@given(st.text("ab1 \n-,", max_size=12), st.text("ab1 \n-,", min_size=1, max_size=12), st.integers(8, 70))
def test_a_loop_is_found_and_ends_within_its_second_round(before: str, unit: str, times: int) -> None:
    """Against a search for any end of the text that is periodic."""
    said = (before + unit * times).rstrip()
    loop = find_loop(said)
    periodic = any(
        said[-size:] == (said[-length:] * size)[-size:] and any(map(str.isalnum, said[-length:]))
        for length in range(1, 41)
        for size in [length * max(8, -(-60 // length))]
        if size <= len(said)
    )
    assert (loop is not None) == periodic
    if loop is not None:
        assert said.endswith(loop.run)
        assert loop.kept <= len(before) + 2 * len(unit)
        assert said[loop.kept] == "\n" or loop.kept == 0


CODE = st.lists(
    st.sampled_from([*list("()[]{}\"',:;. \n#"), "x", "y1", "foo", "return ", "    ", "else ", "// ", " = "]),
    max_size=14,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(CODE, CODE, CODE, st.sampled_from(["python", "javascript", "java", "rust"]))
def test_accepting_never_adds_a_closer_that_nothing_opened(prefix: str, said: str, suffix: str, language: str) -> None:
    if any(quote in prefix + said + suffix for quote in "\"'`"):
        return  # half-typed strings make "the brackets of the file" undefined
    text, _ = postprocess(said, Place(prefix, suffix, language))
    if "//" in prefix + text or "#" in prefix + text:
        return
    before = len(unmatched_closers(prefix + suffix, language))
    assert len(unmatched_closers(prefix + text + suffix, language)) <= before


@settings(max_examples=400, deadline=None)
@given(CODE, CODE, CODE)
def test_accepting_never_repeats_the_next_line(prefix: str, said: str, suffix: str) -> None:
    where = Place(prefix, suffix, "python")
    text, reason = postprocess(said, where)
    assert (text == "") == (reason is not Reason.MODEL)
    following = where.next_lines(1)
    last = (prefix + text).split("\n")[-1]
    if text and not where.line_suffix.strip() and following and any(char.isalnum() for char in last):
        assert last.strip() != following[0].strip()


@settings(max_examples=300, deadline=None)
@given(CODE, CODE, CODE)
def test_shown_text_is_what_the_engine_said(prefix: str, said: str, suffix: str) -> None:
    """Post-processing only takes away."""
    text, _ = postprocess(said, Place(prefix, suffix, "python"))
    assert text.strip() in said


@given(st.text("()[]{}", max_size=12))
def test_brackets_pair_up(text: str) -> None:
    openers, closers = unmatched_openers(text, "text"), unmatched_closers(text, "text")
    assert not (set(openers) | set(closers)) - set("()[]{}")
    assert unmatched_openers("(" + text, "text") != "" or ")" in text


@pytest.mark.parametrize("lines", [10, 4_000])
def test_closers_are_counted_from_where_the_file_begins(lines: int) -> None:
    prefix = "data = [\n" + "    'an entry',\n" * lines
    assert postprocess("    f(1)]", Place(prefix, "\n", "python")) == ("    f(1)]", Reason.MODEL)


@given(st.lists(st.sampled_from(["(", ")", "[", "]", '"""', "'", "\n", "a", "# ", "/*", "*/", "//", "`"]), max_size=30))
@pytest.mark.parametrize("language", ["python", "typescript"])
def test_reading_line_by_line_is_reading_at_once(language: str, pieces: list[str]) -> None:
    prefix = "".join(pieces)
    closers = "".join(OPENERS[opener] for opener in reversed(unmatched_openers(prefix, language)))
    assert around(prefix, "", language).open == closers
