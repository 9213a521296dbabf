"""initialize, open, change, close, folders, settings, files on disk: the editor's state goes to the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from holefill.context.providers.typed_hole import TypedHoleProvider
from holefill.lsp_server.completion import Trigger
from holefill.lsp_server.config import parse_settings
from holefill.lsp_server.convert import path_of
from holefill.lsp_server.prefetch import opened_at

if TYPE_CHECKING:
    from holefill.lsp_server.server import HolefillServer


def register(server: HolefillServer) -> None:
    session = server.session

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.initialize(params, parse_settings(params.initialization_options, server.base))

    @server.feature(types.INITIALIZED)
    def initialized(params: types.InitializedParams) -> None:
        server.tell_problems()
        server.indexes.set_roots(session.roots)

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        document = session.open(params.text_document)
        if document.is_file:
            server.indexes.edited(document.path, document.text)
        if session.settings.enabled(document.language):
            server.engine.warm_up()
            cursor = session.cursor_at(document, opened_at(document.text))
            server.prefetcher.rests(server.request_for(cursor, Trigger.AUTOMATIC))
            if document.is_file and TypedHoleProvider.name not in session.settings.providers_off:
                server.chat.opened(cursor)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        server.prefetcher.cancel()
        document = session.change(params)
        if document is not None and document.is_file:
            server.indexes.edited(document.path, document.text)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        server.scheduler.cancel(params.text_document.uri)
        document = session.close(params.text_document.uri)
        if document is not None and document.is_file:
            server.indexes.closed(document.path)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def folders_changed(params: types.DidChangeWorkspaceFoldersParams) -> None:
        session.set_roots(list(server.workspace.folders))
        server.indexes.set_roots(session.roots)

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    def settings_changed(params: types.DidChangeConfigurationParams) -> None:
        server.configure(parse_settings(params.settings, session.settings))
        server.tell_problems()

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def files_changed(params: types.DidChangeWatchedFilesParams) -> None:
        paths = [path_of(change.uri) for change in params.changes]
        server.indexes.changed_on_disk(paths)
        server.chat.changed_on_disk(paths)

    @server.feature(types.SHUTDOWN)
    def shutdown(params: None) -> None:
        server.stop()
