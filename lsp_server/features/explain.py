"""holefill/explain: why the last answer is what it is, as Markdown without any of the user's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holefill.lsp_server.receipts import markdown

if TYPE_CHECKING:
    from holefill.lsp_server.server import HolefillServer

EXPLAIN = "holefill/explain"


def register(server: HolefillServer) -> None:
    @server.feature(EXPLAIN)
    def explain(params: Any) -> str:
        return markdown(server.last, server.engine.status.message)
