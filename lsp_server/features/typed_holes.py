"""ChatLSP's methods with their published result shapes; positions and results are translated here, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from lsprotocol import types

from holefill.context.items import Cursor
from holefill.lsp_server import chat_lsp
from holefill.lsp_server.chat_lsp import Told
from holefill.lsp_server.completion import Completion, Trigger
from holefill.lsp_server.convert import position_at, uri_of
from holefill.lsp_server.session import Document

if TYPE_CHECKING:
    from holefill.lsp_server.server import HolefillServer

EXPECTED_TYPE = "textDocument/expectedType"
RELEVANT_TYPES = "textDocument/relevantTypes"
RELEVANT_HEADERS = "textDocument/relevantHeaders"
LLM_COMPLETION = "textDocument/llmCompletion"
RESOLVE_ERRORS = "textDocument/llmCompletionResolveErrors"
AI_TUTORIAL = "textDocument/aiTutorial"
ERROR_REPORT = "textDocument/errorReport"
T = TypeVar("T")


def register(server: HolefillServer) -> None:
    chat = server.chat

    def cursor_of(params: Any) -> Cursor:
        at = types.Position(int(params.position.line), int(params.position.character))
        return server.session.cursor(str(params.textDocument.uri), at)

    async def ask(params: Any, tell: Callable[[Cursor, tuple[Document, ...]], T]) -> T:
        cursor, documents = cursor_of(params), server.session.files()
        return await asyncio.to_thread(tell, cursor, documents)

    async def complete(cursor: Cursor, uri: str) -> Completion:
        return await server.suggest(uri, server.request_for(cursor, Trigger.INVOKED))

    @server.feature(EXPECTED_TYPE)
    async def expected_type(params: Any) -> dict[str, object]:
        told = await ask(params, chat.expected)
        return {"content": _markup(told.code), "location": _location(server, told)}

    @server.feature(RELEVANT_TYPES)
    async def relevant_types(params: Any) -> dict[str, object]:
        return _list(server, await ask(params, chat.types))

    @server.feature(RELEVANT_HEADERS)
    async def relevant_headers(params: Any) -> dict[str, object]:
        return _list(server, await ask(params, chat.headers))

    @server.feature(LLM_COMPLETION)
    async def llm_completion(params: Any) -> dict[str, object]:
        context = await ask(params, chat.summary)
        done = await complete(cursor_of(params), str(params.textDocument.uri))
        return {"snippet": done.text, "context": context}

    @server.feature(RESOLVE_ERRORS)
    async def resolve_errors(params: Any) -> dict[str, object]:
        """``snippet``: what to correct; without it, what the model would say."""
        cursor, uri = cursor_of(params), str(params.textDocument.uri)
        snippet = getattr(params, "snippet", None)
        if not isinstance(snippet, str):
            snippet = (await complete(cursor, uri)).text
        loop = asyncio.get_running_loop()

        def again(changed: Cursor) -> str:
            return asyncio.run_coroutine_threadsafe(complete(changed, uri), loop).result().text

        done = await asyncio.to_thread(lambda: chat.resolve(cursor, snippet, again))
        return {"snippet": done.snippet, "context": done.context}

    @server.feature(AI_TUTORIAL)
    def ai_tutorial(params: Any) -> dict[str, object]:
        return {"content": _markup(chat_lsp.TUTORIAL)}

    @server.feature(ERROR_REPORT)
    async def error_report(params: Any) -> dict[str, object]:
        """``snippet`` at the position: the errors it would bring."""
        cursor, snippet = cursor_of(params), str(getattr(params, "snippet", ""))
        report = await asyncio.to_thread(lambda: chat.report(cursor, snippet))
        text = cursor.prefix + snippet + cursor.suffix
        told = tuple(Told(chat_lsp.errors([one]), cursor.path, text, one.start) for one in report.problems)
        return _list(server, told)


def _list(server: HolefillServer, told: tuple[Told, ...]) -> dict[str, object]:
    return {"contents": [_markup(one.code) for one in told], "locations": [_location(server, one) for one in told]}


def _markup(text: str) -> types.MarkupContent:
    return types.MarkupContent(types.MarkupKind.PlainText, text)


def _location(server: HolefillServer, told: Told) -> types.Location | None:
    if not told.path:
        return None
    here = position_at(told.text, told.offset, server.session.encoding)
    return types.Location(uri_of(told.path), types.Range(here, here))
