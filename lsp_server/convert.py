"""LSP types and position encodings ↔ our types; nowhere else."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlparse

import cattrs
from lsprotocol import types
from pygls.protocol import default_converter
from pygls.uris import from_fs_path, to_fs_path

from holefill.context.items import CharOffset
from holefill.lsp_server.completion import Completion, CompletionRequest, Trigger

ACCEPTED_COMMAND = "holefill.accepted"

Encoding = types.PositionEncodingKind | str
_BYTES_PER_UNIT = {types.PositionEncodingKind.Utf8: 1, types.PositionEncodingKind.Utf16: 2}
_CODECS = {types.PositionEncodingKind.Utf8: "utf-8", types.PositionEncodingKind.Utf16: "utf-16-le"}
_LINE_END = re.compile("\r\n|\n|\r")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_COUNTED_CHARS = 1 << 16
"""Line ends of so much text are counted at once: a file of megabytes has a hundred thousand lines before the cursor."""


def converter() -> cattrs.Converter:
    """pygls' own, which also reads trigger kind 0, the proposal's "invoked"."""
    made: cattrs.Converter = default_converter()  # type: ignore[no-untyped-call]
    kind = types.InlineCompletionTriggerKind
    made.register_structure_hook(kind, lambda value, _: kind.Invoked if value == 0 else kind(value))
    return made


def path_of(uri: str) -> str:
    """The file's path; for documents that are no files (untitled:…) what the URI says in its place."""
    path = to_fs_path(uri)
    return path if path is not None else unquote(urlparse(uri).path) or uri


def is_file(uri: str) -> bool:
    """Whether the document is a file, saved or not, and no other view of one: a commit's (git:…), a notebook's cell."""
    return uri.partition(":")[0] in ("file", "untitled")


def uri_of(path: str) -> str:
    return from_fs_path(path) or path


def valid(text: str) -> str:
    """Without the halves of surrogate pairs that JSON can carry and UTF-8, which tokenizers and engines read, cannot:
    U+FFFD in their place has their length in every encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\ufffd", text)
    return text


def units(text: str, encoding: Encoding) -> int:
    """Length of ``text`` in the client's units."""
    if text.isascii() or encoding == types.PositionEncodingKind.Utf32:
        return len(text)
    kind = types.PositionEncodingKind(encoding)
    return len(text.encode(_CODECS[kind], "surrogatepass")) // _BYTES_PER_UNIT[kind]


def offset_at(text: str, position: types.Position, encoding: Encoding) -> CharOffset | None:
    """Offset of a position. Past the end of its line means the line's end, as LSP says; past the last line, None."""
    start = _line_start(text, position.line)
    if start is None:
        return None
    end = _line_end(text, start)
    line = text[start:end]
    if line.isascii() or encoding == types.PositionEncodingKind.Utf32:
        return CharOffset(start + min(position.character, len(line)))
    return CharOffset(start + _chars(line, position.character, encoding))


def position_at(text: str, offset: int, encoding: Encoding) -> types.Position:
    """The inverse of ``offset_at``, for places in files."""
    before = text[:offset]
    starts = [0, *(match.end() for match in _LINE_END.finditer(before))]
    return types.Position(len(starts) - 1, units(before[starts[-1] :], encoding))


def _chars(line: str, character: int, encoding: Encoding) -> int:
    """Characters that fit into ``character`` units; a position inside a character means before it."""
    kind = types.PositionEncodingKind(encoding)
    fitting = line.encode(_CODECS[kind], "surrogatepass")[: character * _BYTES_PER_UNIT[kind]]
    return len(fitting.decode(_CODECS[kind], "ignore"))


def _line_start(text: str, line: int) -> int | None:
    if line <= 0:
        return 0
    at = 0
    while (end := _block_end(text, at)) < len(text):
        passed = text.count("\n", at, end)
        if returns := text.count("\r", at, end):
            passed += returns - text.count("\r\n", at, end)
        if passed >= line:
            break
        at, line = end, line - passed
    for count, match in enumerate(_LINE_END.finditer(text, at), start=1):
        if count == line:
            return match.end()
    return None


def _block_end(text: str, at: int) -> int:
    """Where the text counted at once ends; never inside a line end."""
    end = min(len(text), at + _COUNTED_CHARS)
    while end < len(text) and text[end - 1] == "\r":
        end += 1
    return end


def _line_end(text: str, start: int) -> int:
    match = _LINE_END.search(text, start)
    return match.start() if match is not None else len(text)


def apply_change(text: str, change: types.TextDocumentContentChangeEvent, encoding: Encoding) -> str:
    if isinstance(change, types.TextDocumentContentChangeWholeDocument):
        return valid(change.text)
    start = offset_at(text, change.range.start, encoding)
    end = offset_at(text, change.range.end, encoding)
    start = CharOffset(len(text)) if start is None else start
    end = CharOffset(len(text)) if end is None else end
    return text[:start] + valid(change.text) + text[max(start, end) :]


def trigger_of(kind: types.InlineCompletionTriggerKind) -> Trigger:
    """A client of the proposal says 1 for "automatic", which is now "invoked": it gets more time, the same answer."""
    return Trigger.AUTOMATIC if kind is types.InlineCompletionTriggerKind.Automatic else Trigger.INVOKED


def inline_items(completion: Completion, position: types.Position, uri: str) -> list[types.InlineCompletionItem]:
    """One item per alternative, each with an explicit empty range (none means the whole rest of the line)."""
    texts = [text for text in (completion.text, *completion.alternatives) if text]
    return [_inline_item(text, types.Range(position, position), index, uri) for index, text in enumerate(texts)]


def inline_items_for_selection(
    completion: Completion, selected: types.SelectedCompletionInfo, typed: str, uri: str
) -> list[types.InlineCompletionItem]:
    """Items that begin with the selected entry and use its range, as VS Code demands; ``typed`` is its typed part."""
    texts = [typed + text for text in (completion.text, *completion.alternatives) if text]
    fitting = [text for text in texts if text.startswith(selected.text)]
    return [_inline_item(text, selected.range, index, uri) for index, text in enumerate(fitting)]


def _inline_item(text: str, where: types.Range, index: int, uri: str) -> types.InlineCompletionItem:
    return types.InlineCompletionItem(insert_text=text, range=where, command=_accepted(index, uri, where.start, text))


def _accepted(index: int, uri: str, start: types.Position, text: str) -> types.Command:
    """Sent back when the item is taken: its rank, and what stands where from then on (``features/accepted``)."""
    arguments = [index, uri, start.line, start.character, text]
    return types.Command(title="Accepted", command=ACCEPTED_COMMAND, arguments=arguments)


def completion_list(
    completion: Completion, request: CompletionRequest, position: types.Position, encoding: Encoding, uri: str
) -> types.CompletionList:
    """The same answer for clients without inline completion: one preselected entry of the completion menu."""
    if not completion.text:
        return types.CompletionList(is_incomplete=True, items=[])
    typed = re.search(r"\w*\Z", request.cursor.prefix[-200:])
    word = typed.group() if typed is not None else ""
    start = types.Position(position.line, position.character - units(word, encoding))
    text = word + completion.text
    item = types.CompletionItem(
        label=text.strip().split("\n", 1)[0][:80],
        kind=types.CompletionItemKind.Snippet,
        detail="holefill",
        documentation=text if "\n" in text else None,
        filter_text=word or text,
        sort_text="\0",
        preselect=True,
        insert_text_format=types.InsertTextFormat.PlainText,
        text_edit=types.TextEdit(types.Range(start, position), text),
        command=_accepted(0, uri, start, text),
    )
    return types.CompletionList(is_incomplete=True, items=[item])
