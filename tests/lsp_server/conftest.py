"""A scripted engine behind a real socket, a tokenizer of bytes, and an editor that speaks to `holefill serve`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from lsprotocol import types
from pygls.lsp.client import LanguageClient


class ScriptedServer(ThreadingHTTPServer):
    """An OpenAI-compatible server that says ``answer(prompt)``, one character per event."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[str], Iterable[str]] = lambda prompt: "answer"
        self.delay_s = 0.0
        self.fail = False
        self.prompts: list[str] = []
        self.sent = 0
        self.disconnected = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server.prompts.append(body["prompt"])
        if server.fail:
            self.send_response(500)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            for char in server.answer(body["prompt"]):
                self._event({"text": char, "logprobs": {"token_logprobs": [-0.1]}, "finish_reason": None})
                server.sent += 1
                time.sleep(server.delay_s)
            self._event({"text": "", "finish_reason": "stop"})
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            server.disconnected += 1

    def _event(self, choice: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
        self.wfile.flush()


@pytest.fixture
def engine() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@dataclass
class Editor:
    """The other end of the wire, with what the server told it."""

    client: LanguageClient
    result: types.InitializeResult = field(init=False)
    messages: list[str] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    edits: list[types.WorkspaceEdit] = field(default_factory=list)
    refuse: int = 0
    """So many edits are refused."""
    version: int = 1

    def open(self, path: Path, text: str, language: str = "python") -> str:
        item = types.TextDocumentItem(path.as_uri(), language, self.version, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        return path.as_uri()

    def type(self, uri: str, line: int, character: int, text: str) -> None:
        self.version += 1
        here = types.Position(line, character)
        change = types.TextDocumentContentChangePartial(range=types.Range(here, here), text=text)
        document = types.VersionedTextDocumentIdentifier(version=self.version, uri=uri)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    async def inline(
        self,
        uri: str,
        line: int,
        character: int,
        kind: int = 1,
        selected: types.SelectedCompletionInfo | None = None,
    ) -> list[types.InlineCompletionItem]:
        answer = await self.client.text_document_inline_completion_async(
            self.inline_params(uri, line, character, kind, selected)
        )
        return (
            [] if answer is None else list(answer.items if isinstance(answer, types.InlineCompletionList) else answer)
        )

    @staticmethod
    def inline_params(
        uri: str, line: int, character: int, kind: int = 1, selected: types.SelectedCompletionInfo | None = None
    ) -> types.InlineCompletionParams:
        context = types.InlineCompletionContext(types.InlineCompletionTriggerKind(1), selected)
        context.trigger_kind = kind  # type: ignore[assignment]  # 0 of the proposal is no member
        return types.InlineCompletionParams(
            context=context, text_document=types.TextDocumentIdentifier(uri), position=types.Position(line, character)
        )

    async def taken(self, item: types.InlineCompletionItem) -> None:
        """Tells the server that the suggestion was accepted."""
        assert item.command is not None
        done = types.ExecuteCommandParams(command=item.command.command, arguments=item.command.arguments)
        await self.client.workspace_execute_command_async(done)

    async def when(self, true: Callable[[], object], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"nothing came: {self.messages} {self.statuses}"
            await asyncio.sleep(0.02)

    async def ready(self, seconds: float = 10.0) -> None:
        await self.when(lambda: any(status["state"] == "ready" for status in self.statuses), seconds)

    async def explain(self) -> str:
        return str(await self.client.protocol.send_request_async("holefill/explain", {}))


F = TypeVar("F", bound=Callable[..., object])


def on(client: LanguageClient, name: str) -> Callable[[F], F]:
    """``client.feature``, with a type."""
    register: Callable[[F], F] = client.feature(name)
    return register


class StartEditor(Protocol):
    def __call__(
        self,
        *,
        options: dict[str, Any] | None = None,
        encodings: list[types.PositionEncodingKind] | None = None,
        inline: bool = True,
        env: dict[str, str] | None = None,
        workspace: types.WorkspaceClientCapabilities | None = None,
    ) -> contextlib.AbstractAsyncContextManager[Editor]: ...


@pytest.fixture
def start_editor(tmp_path: Path, byte_model: Path, engine: ScriptedServer) -> StartEditor:
    """``async with start_editor(...) as editor``: a real server process, by default with the scripted engine."""
    return partial(open_editor, tmp_path, ["--model", str(byte_model), "--engine-url", engine.url])


@contextlib.asynccontextmanager
async def open_editor(
    root: Path,
    arguments: list[str],
    options: dict[str, Any] | None = None,
    encodings: list[types.PositionEncodingKind] | None = None,
    inline: bool = True,
    env: dict[str, str] | None = None,
    workspace: types.WorkspaceClientCapabilities | None = None,
) -> AsyncIterator[Editor]:
    client = LanguageClient("test-editor", "1")
    client.protocol._converter.register_unstructure_hook(
        types.InlineCompletionTriggerKind, lambda kind: getattr(kind, "value", kind)
    )
    editor = Editor(client)

    @on(client, types.WINDOW_SHOW_MESSAGE)
    def show_message(params: types.ShowMessageParams) -> None:
        editor.messages.append(params.message)

    @on(client, types.WINDOW_SHOW_MESSAGE_REQUEST)
    def show_message_request(params: types.ShowMessageRequestParams) -> None:
        editor.messages.append(params.message)

    @on(client, types.WORKSPACE_APPLY_EDIT)
    def apply_edit(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
        editor.edits.append(params.edit)
        return types.ApplyWorkspaceEditResult(applied=len(editor.edits) > editor.refuse)

    @on(client, "holefill/status")
    def status(params: Any) -> None:
        editor.statuses.append(params._asdict())

    command = [str(Path(sys.executable).with_name("holefill")), "serve", "--stdio", *arguments]
    await client.start_io(command[0], *command[1:], cwd=str(root), env={**os.environ, **(env or {})})
    text_document = types.TextDocumentClientCapabilities(
        inline_completion=types.InlineCompletionClientCapabilities() if inline else None
    )
    capabilities = types.ClientCapabilities(
        workspace=workspace,
        text_document=text_document,
        general=types.GeneralClientCapabilities(position_encodings=encodings),
    )
    editor.result = await client.initialize_async(
        types.InitializeParams(
            capabilities=capabilities,
            process_id=os.getpid(),
            initialization_options=options,
            workspace_folders=[types.WorkspaceFolder(root.as_uri(), root.name)],
        )
    )
    client.initialized(types.InitializedParams())
    stop: Callable[[], Awaitable[None]] = client.stop
    try:
        yield editor
    finally:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.shutdown_async(None), 5)
            client.exit(None)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop(), 5)
