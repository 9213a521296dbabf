"""holefill/cursor: an editor may say where the cursor came to rest, so that the prompt there is computed ahead.

Params are those of every position request: ``{textDocument: {uri}, position: {line, character}}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsprotocol import types

from holefill.lsp_server.completion import Trigger

if TYPE_CHECKING:
    from holefill.lsp_server.server import HolefillServer

CURSOR = "holefill/cursor"


def register(server: HolefillServer) -> None:
    @server.feature(CURSOR)
    def cursor(params: Any) -> None:
        at = types.Position(int(params.position.line), int(params.position.character))
        request = server.request_at(str(params.textDocument.uri), at, Trigger.AUTOMATIC)
        if server.session.settings.enabled(request.cursor.language):
            server.prefetcher.rests(request)
