"""textDocument/inlineCompletion (LSP 3.18): snapshot → completer → items with explicit one-line ranges."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lsprotocol import types

from holefill.lsp_server.completion import Trigger
from holefill.lsp_server.convert import inline_items, inline_items_for_selection, offset_at, trigger_of

if TYPE_CHECKING:
    from holefill.lsp_server.server import HolefillServer


ALTERNATIVES = 3
"""Beside the first answer, when the user asks for one: an editor shows them one after the other."""


def register(server: HolefillServer) -> None:
    # pygls announces the capability only when it is given options.
    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(params: types.InlineCompletionParams) -> types.InlineCompletionList:
        uri, position = params.text_document.uri, params.position
        selected = params.context.selected_completion_info
        request = server.request_at(
            uri, position, trigger_of(params.context.trigger_kind), None if selected is None else selected.text
        )
        if request.trigger is Trigger.INVOKED:
            request = replace(request, alternatives=ALTERNATIVES)
        completion = await server.suggest(uri, request)
        if selected is None:
            return types.InlineCompletionList(inline_items(completion, position, uri))
        start = offset_at(request.cursor.text, selected.range.start, server.session.encoding)
        typed = "" if start is None else request.cursor.text[start : request.cursor.offset]
        return types.InlineCompletionList(inline_items_for_selection(completion, selected, typed, uri))
