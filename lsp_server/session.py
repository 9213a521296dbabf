"""What the editor told us: open documents, workspace folders, settings. Everything handed out is a frozen snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from lsprotocol import types

from holefill.context.items import CharOffset, Cursor
from holefill.context.syntax.languages import language_of
from holefill.lsp_server.config import Settings
from holefill.lsp_server.convert import Encoding, apply_change, is_file, offset_at, path_of, valid

NOWHERE = CharOffset(-1)
"""Offset of a position past the last line; the completer answers it with ``bad_position``."""


@dataclass(frozen=True, slots=True)
class Document:
    path: str
    language: str
    language_id: str
    version: int
    text: str
    is_file: bool = True
    """Its text is that of the file at ``path``."""


class Session:
    """Lives on the event loop only. Keeps its own text: pygls' also splits lines at form feeds, editors do not."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.encoding: Encoding = types.PositionEncodingKind.Utf16
        self.roots: tuple[str, ...] = ()
        self._documents: dict[str, Document] = {}

    def set_roots(self, folders: Sequence[str]) -> None:
        """Innermost first, so that the first folder holding a file is the nearest."""
        self.roots = tuple(sorted({path_of(uri) for uri in folders}, key=len, reverse=True))

    def open(self, item: types.TextDocumentItem) -> Document:
        path = path_of(item.uri)
        language = language_of(path, item.language_id)
        document = Document(path, language, item.language_id, item.version, valid(item.text), is_file(item.uri))
        self._documents[item.uri] = document
        return document

    def change(self, params: types.DidChangeTextDocumentParams) -> Document | None:
        document = self._documents.get(params.text_document.uri)
        if document is None:
            return None
        text = document.text
        for change in params.content_changes:
            text = apply_change(text, change, self.encoding)
        document = replace(document, text=text, version=params.text_document.version)
        self._documents[params.text_document.uri] = document
        return document

    def close(self, uri: str) -> Document | None:
        return self._documents.pop(uri, None)

    def document(self, uri: str) -> Document | None:
        return self._documents.get(uri)

    def files(self) -> tuple[Document, ...]:
        """The open documents that are files."""
        return tuple(document for document in self._documents.values() if document.is_file)

    def root_of(self, path: str) -> str | None:
        return next((root for root in self.roots if PurePath(path).is_relative_to(root)), None)

    def cursor(self, uri: str, position: types.Position) -> Cursor:
        """A cursor for any position of any document; impossible ones are at ``NOWHERE``."""
        document = self._documents.get(uri)
        if document is None:
            return Cursor(path_of(uri), "", NOWHERE, "text")
        offset = offset_at(document.text, position, self.encoding)
        return self.cursor_at(document, NOWHERE if offset is None else offset)

    def cursor_at(self, document: Document, offset: int) -> Cursor:
        return Cursor(
            path=document.path,
            text=document.text,
            offset=CharOffset(offset),
            language=document.language,
            root=self.root_of(document.path),
            version=document.version,
        )
