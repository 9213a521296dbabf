"""The command that comes with every suggestion: an editor runs it when one is taken.

What the text names and the file does not import is looked for now, when nobody waits for a key, and added in one edit
of its own, so that one undo takes it back. An inline completion has no additional edits that could say it before.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsprotocol import types

from holefill.context.check import missing_imports
from holefill.context.import_edits import insertions
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.lsp_server.convert import ACCEPTED_COMMAND, offset_at, position_at
from holefill.lsp_server.session import Document

if TYPE_CHECKING:
    from holefill.lsp_server.server import HolefillServer

CHECK_MS = 2_000.0
ARRIVES_MS, STEP_MS = 1_000, 20
"""How long the text that was taken may take to arrive, in an editor that runs the command first."""
ANSWER_S = 5.0
_BEGUN = re.compile(r"[\w$.]*\Z")
"""What the text goes on with may have been typed: half a name, a module and its dot."""
TRIES = 3
"""An edit for a version that the user has typed past is refused, and made anew."""


@dataclass(frozen=True, slots=True)
class Taken:
    uri: str
    start: types.Position
    text: str

    @classmethod
    def read(cls, arguments: Sequence[object]) -> Taken | None:
        """None for what no suggestion of ours came with."""
        match arguments:
            case [_, str(uri), int() | float() as line, int() | float() as character, str(text), *_] if uri:
                return cls(uri, types.Position(int(line), int(character)), text)
        return None


def register(server: HolefillServer) -> None:
    @server.command(ACCEPTED_COMMAND)
    async def accepted(ls: object, *arguments: object) -> None:  # pygls hands itself to a parameter of this name
        server.accepted += 1
        taken = Taken.read(arguments)
        if taken is not None and server.edits is not None and server.session.settings.add_imports:
            with contextlib.suppress(TimeoutError):  # the client never said what became of the edit
                await _add_imports(server, taken)


async def _add_imports(server: HolefillServer, taken: Taken) -> None:
    arrived = await _arrived(server, taken)
    holes = None if arrived is None else server.chat.of(arrived[0])
    if arrived is None or holes is None:
        return
    statements = await asyncio.to_thread(missing_imports, holes, *arrived, Deadline.after_ms(CHECK_MS))
    for _ in range(TRIES if statements else 0):
        document = server.session.document(taken.uri)
        edit = None if document is None else _edit(server, taken.uri, document, statements)
        if edit is None:
            return
        asked = server.workspace_apply_edit_async(types.ApplyWorkspaceEditParams(edit, "Add imports"))
        if (await asyncio.wait_for(asked, ANSWER_S)).applied:
            return
        await asyncio.sleep(STEP_MS / 1000)  # what was typed is on its way


async def _arrived(server: HolefillServer, taken: Taken) -> tuple[Cursor, str] | None:
    """Once the text stands in the document: a cursor without the expression it is part of, and that expression."""
    for _ in range(ARRIVES_MS // STEP_MS):
        document = server.session.document(taken.uri)
        found = None if document is None else _taken_out(server, taken, document)
        if document is None or found is not None:
            return found
        await asyncio.sleep(STEP_MS / 1000)
    return None


def _taken_out(server: HolefillServer, taken: Taken, document: Document) -> tuple[Cursor, str] | None:
    start = offset_at(document.text, taken.start, server.session.encoding)
    text = taken.text.replace("\n", "\r\n") if "\r\n" in document.text else taken.text
    if start is None or not document.text.startswith(text, start):
        return None
    end = start + len(text)
    begun = _BEGUN.search(document.text[max(0, start - 200) : start])
    start = CharOffset(start - (0 if begun is None else len(begun.group())))
    without = document.text[:start] + document.text[end:]
    root = server.session.root_of(document.path)
    return Cursor(document.path, without, start, document.language, root, document.version), document.text[start:end]


def _edit(
    server: HolefillServer, uri: str, document: Document, statements: Sequence[str]
) -> types.WorkspaceEdit | None:
    found = insertions(document.language, document.text, statements)
    places = [position_at(document.text, one.offset, server.session.encoding) for one in found]
    edits = [types.TextEdit(types.Range(at, at), one.text) for at, one in zip(places, found, strict=True)]
    if not edits:
        return None
    if server.edits is None or not server.edits.document_changes:
        return types.WorkspaceEdit(changes={uri: edits})
    version = types.OptionalVersionedTextDocumentIdentifier(uri, document.version)
    return types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(version, edits)])
