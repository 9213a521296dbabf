"""Incremental parsing against its oracle: the same tree as from scratch."""

from __future__ import annotations

import inspect
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.context.syntax.definitions import definitions
from holefill.context.syntax.languages import LANGUAGES, grammar, language_of, query
from holefill.context.syntax.parsing import changed_range, error_bytes, parse

PYTHON = inspect.getsource(textwrap)
TYPESCRIPT = "export class A {\n  m(x: number) { return `é${x}` }\n}\nfunction f(a: string) { return [a] }\n" * 4
PIECES = ["x", "(", ")", "\n", "    ", "é", "😀", '"', "def f(): pass\n", "class A:\n    x = 1\n", "{", "}", "`"]


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_language_loads(language: str) -> None:
    assert grammar(language).node_kind_count > 0
    assert query(language).pattern_count > 0


def test_language_of_a_document() -> None:
    assert language_of("a/b.PY") == "python"
    assert language_of("a.txt") == "text"
    assert language_of("noextension", "typescriptreact") == "tsx"
    assert language_of("a.ts", "unknown") == "typescript"


@settings(max_examples=40, deadline=None)
@given(data=st.data(), language=st.sampled_from(["python", "typescript"]))
def test_incremental_equals_full(data: st.DataObject, language: str) -> None:
    text = PYTHON if language == "python" else TYPESCRIPT
    parsed = parse(language, text)
    for _ in range(3):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        text = text[:start] + data.draw(st.sampled_from(PIECES)) + text[end:]
        parsed = parse(language, text, parsed)
        full = parse(language, text)
        assert parsed.source == full.source
        assert parsed.root.end_byte == full.root.end_byte
        # Error recovery may depend on history; a tree without errors may not.
        if not full.root.has_error:
            assert str(parsed.root) == str(full.root)
            assert definitions(parsed) == definitions(full)


@given(st.text(max_size=30), st.text(max_size=30))
def test_changed_range_rebuilds_the_new_text(old: str, new: str) -> None:
    before, after = old.encode("utf-8", "replace"), new.encode("utf-8", "replace")
    start, old_end, new_end = changed_range(before, after)
    assert before[:start] + after[start:new_end] + before[old_end:] == after
    for source, at in ((before, start), (after, start), (before, old_end), (after, new_end)):
        source[:at].decode()  # on a character border


def test_error_bytes_counts_what_the_parser_could_not_read() -> None:
    assert error_bytes(parse("python", "x = 1\n")) == 0
    assert error_bytes(parse("python", "x = = 1\n")) > 0
    assert error_bytes(parse("java", "class A { int x }")) == 1  # a missing semicolon
    assert error_bytes(parse("python", "x = '\ud800'\n")) == 0
