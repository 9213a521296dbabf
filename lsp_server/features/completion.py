"""textDocument/completion, for clients that cannot show inline completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from holefill.lsp_server.completion import Trigger
from holefill.lsp_server.convert import completion_list

if TYPE_CHECKING:
    from holefill.lsp_server.server import HolefillServer

TRIGGERS = (".", "(", "=", " ", ",", ":", "\n")


def register(server: HolefillServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=TRIGGERS))
    async def completion(params: types.CompletionParams) -> types.CompletionList:
        uri, position = params.text_document.uri, params.position
        invoked = params.context is None or params.context.trigger_kind is types.CompletionTriggerKind.Invoked
        request = server.request_at(uri, position, Trigger.INVOKED if invoked else Trigger.AUTOMATIC)
        done = await server.suggest(uri, request)
        return completion_list(done, request, position, server.session.encoding, uri)
