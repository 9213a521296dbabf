"""Positions of every encoding, against the definition: units of the encoded line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types

from holefill.context.items import CharOffset, Cursor
from holefill.lsp_server import convert
from holefill.lsp_server.completion import Completion, CompletionRequest, Reason, Trigger
from holefill.lsp_server.convert import (
    apply_change,
    completion_list,
    converter,
    inline_items,
    inline_items_for_selection,
    offset_at,
    path_of,
    trigger_of,
    units,
    valid,
)

UTF8, UTF16, UTF32 = types.PositionEncodingKind.Utf8, types.PositionEncodingKind.Utf16, types.PositionEncodingKind.Utf32
WIDTH = {UTF8: ("utf-8", 1), UTF16: ("utf-16-le", 2), UTF32: ("utf-32-le", 4)}
TEXT = st.text(st.sampled_from("ab \té😀中\n\r\x0c\u2028"), max_size=30)
ENCODING = st.sampled_from([UTF8, UTF16, UTF32])


def position_by_definition(text: str, offset: int, encoding: types.PositionEncodingKind) -> types.Position:
    ends = [match.end() for match in re.finditer("\r\n|\n|\r", text) if match.end() <= offset]
    start = ends[-1] if ends else 0
    codec, width = WIDTH[encoding]
    return types.Position(len(ends), len(text[start:offset].encode(codec)) // width)


@settings(max_examples=300, deadline=None)
@given(TEXT, st.integers(0, 30), ENCODING)
def test_offset_of_every_position(text: str, offset: int, encoding: types.PositionEncodingKind) -> None:
    offset = min(offset, len(text))
    if text[offset - 1 : offset + 1] == "\r\n":
        return  # inside a line end, which no position names
    position = position_by_definition(text, offset, encoding)
    assert offset_at(text, position, encoding) == offset


@given(st.text(st.sampled_from("a\n\r"), max_size=30), st.integers(0, 30))
def test_counting_lines_in_blocks_finds_the_same_line(text: str, line: int) -> None:
    starts = [0, *(match.end() for match in re.finditer("\r\n|\n|\r", text))]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(convert, "_COUNTED_CHARS", 3)
        found = offset_at(text, types.Position(line, 0), UTF16)
    assert found == (starts[line] if line < len(starts) else None)


@given(st.text(st.sampled_from("é😀")), st.integers(0, 30), st.sampled_from([UTF8, UTF16]))
def test_a_position_inside_a_character_means_before_it(
    text: str, character: int, encoding: types.PositionEncodingKind
) -> None:
    offset = offset_at(text, types.Position(0, character), encoding)
    assert offset is not None
    assert units(text[:offset], encoding) <= character
    assert offset == len(text) or units(text[: offset + 1], encoding) > character


@pytest.mark.parametrize("text", ["x = '\ud83d'", "\udc00\ud83d", "é\ud83d😀"])
def test_half_a_surrogate_pair_becomes_a_character_as_long(text: str) -> None:
    mended = valid(text)
    mended.encode()
    assert [units(mended, one) for one in (UTF8, UTF16, UTF32)] == [units(text, one) for one in (UTF8, UTF16, UTF32)]
    here = types.Range(types.Position(0, 1), types.Position(0, 1))
    assert apply_change("ab", types.TextDocumentContentChangePartial(range=here, text=text), UTF16) == f"a{mended}b"
    assert apply_change("ab", types.TextDocumentContentChangeWholeDocument(text), UTF16) == mended


@settings(max_examples=200, deadline=None)
@given(TEXT, st.integers(0, 40), st.integers(0, 40), ENCODING)
def test_any_position_is_safe(text: str, line: int, character: int, encoding: types.PositionEncodingKind) -> None:
    offset = offset_at(text, types.Position(line, character), encoding)
    lines = len(re.findall("\r\n|\n|\r", text)) + 1
    assert (offset is None) == (line >= lines)
    assert offset is None or 0 <= offset <= len(text)


@settings(max_examples=200, deadline=None)
@given(TEXT, TEXT, st.integers(0, 30), st.integers(0, 30), ENCODING)
def test_incremental_change_is_a_splice(
    text: str, new: str, start: int, end: int, encoding: types.PositionEncodingKind
) -> None:
    start, end = sorted((min(start, len(text)), min(end, len(text))))
    if "\r" in text:
        return
    where = types.Range(position_by_definition(text, start, encoding), position_by_definition(text, end, encoding))
    change = types.TextDocumentContentChangePartial(range=where, text=new)
    assert apply_change(text, change, encoding) == text[:start] + new + text[end:]


def request(text: str, offset: int) -> CompletionRequest:
    return CompletionRequest(Cursor("/w/a.py", text, CharOffset(offset), "python"), Trigger.AUTOMATIC)


def test_range_is_explicit_and_on_one_line() -> None:
    position = types.Position(0, 3)
    (item,) = inline_items(Completion("nt(x)\ny", Reason.MODEL), position, "file:///w/a.py")
    assert item.range == types.Range(position, position)
    assert item.insert_text == "nt(x)\ny"
    assert item.command is not None
    assert inline_items(Completion("", Reason.EMPTY), position, "") == []


def test_selected_entry_keeps_its_range() -> None:
    where = types.Range(types.Position(0, 6), types.Position(0, 9))
    selected = types.SelectedCompletionInfo(where, "append")
    (item,) = inline_items_for_selection(Completion("end(x)", Reason.MODEL), selected, "app", "file:///w/a.py")
    assert (item.insert_text, item.range) == ("append(x)", where)
    assert inline_items_for_selection(Completion("ly(x)", Reason.MODEL), selected, "app", "") == []


def test_menu_entry_replaces_the_typed_word() -> None:
    listed = completion_list(Completion("nt(x)", Reason.MODEL), request("é = pri", 7), types.Position(0, 8), UTF8, "")
    (item,) = listed.items
    assert isinstance(item.text_edit, types.TextEdit)
    assert item.text_edit.new_text == "print(x)"
    assert item.text_edit.range == types.Range(types.Position(0, 5), types.Position(0, 8))
    assert item.filter_text == "pri"


def test_trigger_kinds_of_every_protocol_version() -> None:
    kinds = [converter().structure(kind, types.InlineCompletionTriggerKind) for kind in (0, 1, 2)]
    assert [trigger_of(kind) for kind in kinds] == [Trigger.INVOKED, Trigger.INVOKED, Trigger.AUTOMATIC]


def test_paths() -> None:
    assert path_of("file:///w/a%20b.py") == "/w/a b.py"
    assert path_of("untitled:Untitled-1") == "Untitled-1"
    assert units("é😀", UTF16) == 3
