"""The real `holefill serve` over stdio, as an editor sees it; a scripted engine answers through HTTP."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from tests.lsp_server.conftest import ScriptedServer, StartEditor

UTF8, UTF16, UTF32 = types.PositionEncodingKind.Utf8, types.PositionEncodingKind.Utf16, types.PositionEncodingKind.Utf32


def test_capabilities_and_an_answer_with_an_explicit_range(
    start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path
) -> None:
    engine.answer = lambda prompt: "nt(value)\n"

    async def go() -> None:
        async with start_editor() as editor:
            capabilities = editor.result.capabilities
            assert capabilities.inline_completion_provider is not None
            assert capabilities.completion_provider is None
            assert isinstance(capabilities.text_document_sync, types.TextDocumentSyncOptions)
            assert capabilities.text_document_sync.change is types.TextDocumentSyncKind.Incremental
            uri = editor.open(tmp_path / "a.py", "value = 1\npri\n")
            await editor.ready()
            for kind in (0, 1, 2):
                (item,) = await editor.inline(uri, 1, 3, kind)
                assert item.insert_text == "nt(value)"
                assert item.range == types.Range(types.Position(1, 3), types.Position(1, 3))
            assert len(engine.prompts) == 1  # the second and third came from the cache
            assert engine.prompts[0] == "<|fim_prefix|>value = 1\npri<|fim_suffix|>\n<|fim_middle|>"
            await editor.taken(item)
            told = await editor.explain()
            assert "cache" in told
            assert "value" not in told

    asyncio.run(go())


@pytest.mark.parametrize(("encoding", "character"), [(UTF8, 10), (UTF16, 8), (UTF32, 7)])
def test_position_encodings(
    start_editor: StartEditor,
    engine: ScriptedServer,
    tmp_path: Path,
    encoding: types.PositionEncodingKind,
    character: int,
) -> None:
    async def go() -> None:
        async with start_editor(encodings=[encoding]) as editor:
            assert editor.result.capabilities.position_encoding == encoding
            uri = editor.open(tmp_path / "a.py", "s = '😀'\r\n")
            await editor.ready()
            editor.type(uri, 0, character - 1, "é")
            width = {UTF8: 2, UTF16: 1, UTF32: 1}[encoding]
            (item,) = await editor.inline(uri, 0, character - 1 + width)
            assert engine.prompts[0].startswith("<|fim_prefix|>s = '😀é<|fim_suffix|>'\r\n")
            assert item.range is not None
            assert item.range.start == types.Position(0, character - 1 + width)

    asyncio.run(go())


def test_typing_through_a_suggestion_needs_no_engine(
    start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path
) -> None:
    engine.answer = lambda prompt: "print(value)"

    async def go() -> None:
        async with start_editor() as editor:
            uri = editor.open(tmp_path / "a.py", "\n")
            await editor.ready()
            await editor.inline(uri, 0, 0)
            for count, char in enumerate("print("):
                editor.type(uri, 0, count, char)
                (item,) = await editor.inline(uri, 0, count + 1, 2)
                assert item.insert_text == "print(value)"[count + 1 :]
            assert len(engine.prompts) == 1

    asyncio.run(go())


def test_cancelling_stops_the_engine_within_a_step(
    start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path
) -> None:
    engine.answer = lambda prompt: "abcdefgh " * 100
    engine.delay_s = 0.05

    async def go() -> None:
        async with start_editor() as editor:
            uri = editor.open(tmp_path / "a.py", "x = \n")
            await editor.ready()
            request = editor.client.protocol.send_request(
                "textDocument/inlineCompletion", editor.inline_params(uri, 0, 4)
            )
            await editor.when(lambda: engine.sent > 3)
            (number,) = [key for key, future in editor.client.protocol._request_futures.items() if future is request]
            editor.client.protocol.notify("$/cancelRequest", types.CancelParams(id=number))
            await editor.when(lambda: engine.disconnected == 1, 2)
            stopped = engine.sent
            await asyncio.sleep(0.3)
            assert engine.sent == stopped
            assert stopped < 20

    asyncio.run(go())


def test_a_newer_request_stops_the_older(start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path) -> None:
    engine.answer = lambda prompt: "slow " * 200 if prompt.startswith("<|fim_prefix|>x = <") else "quick"
    engine.delay_s = 0.01

    async def go() -> None:
        async with start_editor() as editor:
            uri = editor.open(tmp_path / "a.py", "x = \n")
            await editor.ready()
            older = asyncio.ensure_future(editor.inline(uri, 0, 4))
            await editor.when(lambda: engine.sent > 3)
            editor.type(uri, 0, 4, "q")
            (item,) = await editor.inline(uri, 0, 5)
            assert item.insert_text == "quick"
            assert await older == []
            await editor.when(lambda: engine.disconnected == 1, 5)

    asyncio.run(go())


def test_an_automatic_answer_comes_in_time_or_serves_the_next_key(
    start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path
) -> None:
    def endless(prompt: str) -> Iterator[str]:
        """No end of its own: what is shown was cut off, however fast or slow the machine is."""
        yield from "first = 1\nsecond = "
        yield from itertools.cycle("3907165248")

    engine.answer = endless
    engine.delay_s = 0.02

    async def go() -> None:
        async with start_editor(options={"deadline_ms": 300, "debounce_ms": 0}) as editor:
            uri = editor.open(tmp_path / "a.py", "\n")
            await editor.ready()
            for _ in range(50):
                if items := await editor.inline(uri, 0, 0, 2):
                    break  # a slow machine has nothing to show at its first keys
            (item,) = items
            assert isinstance(item.insert_text, str)
            assert "first = 1".startswith(item.insert_text.rstrip() or "nothing")
            await editor.when(lambda: engine.disconnected >= 1)

    asyncio.run(go())


def test_selected_entry_is_continued(start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path) -> None:
    engine.answer = lambda prompt: "(item)"

    async def go() -> None:
        async with start_editor() as editor:
            uri = editor.open(tmp_path / "a.py", "items.app\n")
            await editor.ready()
            where = types.Range(types.Position(0, 6), types.Position(0, 9))
            (item,) = await editor.inline(uri, 0, 9, 2, types.SelectedCompletionInfo(where, "append"))
            assert (item.insert_text, item.range) == ("append(item)", where)

    asyncio.run(go())


def test_menu_for_clients_without_inline_completion(
    start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path
) -> None:
    engine.answer = lambda prompt: "nt(value)"

    async def go() -> None:
        async with start_editor(inline=False) as editor:
            assert editor.result.capabilities.completion_provider is not None
            uri = editor.open(tmp_path / "a.py", "pri\n")
            await editor.ready()
            document = types.TextDocumentIdentifier(uri)
            params = types.CompletionParams(text_document=document, position=types.Position(0, 3))
            listed = await editor.client.text_document_completion_async(params)
            assert isinstance(listed, types.CompletionList)
            (item,) = listed.items
            assert item.text_edit is not None
            assert item.text_edit.new_text == "print(value)"

    asyncio.run(go())


def test_bad_settings_are_named(start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path) -> None:
    async def go() -> None:
        async with start_editor(options={"max_tokens": "many", "enable": {"python": False}}) as editor:
            uri = editor.open(tmp_path / "a.py", "x = \n")
            await editor.when(lambda: any("holefill.max_tokens" in message for message in editor.messages))
            assert await editor.inline(uri, 0, 4) == []
            assert "disabled" in await editor.explain()
            settings = {"holefill": {"enable": {"python": True}, "modle": "x"}}
            params = types.DidChangeConfigurationParams(settings)
            editor.client.workspace_did_change_configuration(params)
            await editor.when(lambda: any("holefill.modle" in message for message in editor.messages))
            await editor.inline(uri, 0, 4)
            await editor.ready()
            assert len(await editor.inline(uri, 0, 4)) == 1

    asyncio.run(go())


def test_an_engine_failure_is_told_and_the_next_request_tries_again(
    start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path
) -> None:
    async def go() -> None:
        async with start_editor() as editor:
            uri = editor.open(tmp_path / "a.py", "x = \n")
            await editor.ready()
            engine.fail = True
            assert await editor.inline(uri, 0, 4) == []
            await editor.when(lambda: editor.statuses[-1]["state"] == "error")
            engine.fail = False
            await asyncio.sleep(2.1)
            await editor.inline(uri, 0, 4)
            await editor.when(lambda: editor.statuses[-1]["state"] == "ready")
            (item,) = await editor.inline(uri, 0, 4)
            assert item.insert_text == "answer"

    asyncio.run(go())


def test_a_request_that_cannot_be_read_is_refused_in_words_of_the_protocol(
    start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path
) -> None:
    async def go() -> None:
        async with start_editor() as editor:
            uri = editor.open(tmp_path / "a.py", "x = \n")
            await editor.ready()
            params = editor.inline_params(uri, 0, 4)
            object.__setattr__(params.position, "line", -1)  # past the client's own validation
            request = editor.client.protocol.send_request_async("textDocument/inlineCompletion", params)
            with pytest.raises(JsonRpcInvalidParams):
                await asyncio.wait_for(request, 10)
            assert len(await editor.inline(uri, 0, 4)) == 1

    asyncio.run(go())


def test_bad_input_is_an_empty_answer_with_a_reason(
    start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path
) -> None:
    async def go() -> None:
        async with start_editor() as editor:
            uri = editor.open(tmp_path / "a.py", "x = \n")
            await editor.ready()
            assert await editor.inline(uri, 99, 0) == []
            assert "bad_position" in await editor.explain()
            assert await editor.inline((tmp_path / "never-opened.py").as_uri(), 0, 0) == []
            assert "the editor has not opened it here" in await editor.explain()
            binary = editor.open(tmp_path / "b.bin", "a\0b", "plaintext")
            assert await editor.inline(binary, 0, 1) == []
            assert "binary" in await editor.explain()
            secret = editor.open(tmp_path / ".env", "TOKEN=\n", "plaintext")
            assert await editor.inline(secret, 0, 6) == []
            assert "secret_file" in await editor.explain()
            halved = editor.open(tmp_path / "halved.py", "s = '\ud83d'\nx = \n")
            assert len(await editor.inline(halved, 1, 4)) == 1
            editor.type(halved, 1, 4, "'\udc00'")
            assert len(await editor.inline(halved, 1, 7)) == 1
            large = editor.open(tmp_path / "large.py", "value = compute(1, 2, 3)\n" * 200_000)
            assert len(await editor.inline(large, 100_000, 0)) == 1
            assert not any("TOKEN" in prompt for prompt in engine.prompts)

    asyncio.run(go())


@pytest.mark.parametrize("model", ["no-such-model", "/no/such/file.gguf"])
def test_a_wrong_model_is_told_and_the_server_lives(start_editor: StartEditor, tmp_path: Path, model: str) -> None:
    async def go() -> None:
        async with start_editor(options={"model": model}) as editor:
            uri = editor.open(tmp_path / "a.py", "x = \n")
            await editor.when(lambda: editor.statuses[-1:] != [] and editor.statuses[-1]["state"] == "error")
            assert model in editor.statuses[-1]["message"]
            await editor.when(lambda: any(model in message for message in editor.messages))
            assert await editor.inline(uri, 0, 4) == []
            assert "engine_error" in await editor.explain()

    asyncio.run(go())


def test_an_unreadable_folder_is_no_obstacle(start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0)

    async def go() -> None:
        async with start_editor(options={"context_tokens": 256}) as editor:
            uri = editor.open(tmp_path / "a.py", "x = \n")
            await editor.ready()
            (item,) = await editor.inline(uri, 0, 4)
            assert item.insert_text == "answer"

    try:
        asyncio.run(go())
    finally:
        locked.chmod(0o700)


def test_malformed_messages_do_not_end_the_server(
    start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path
) -> None:
    async def go() -> None:
        async with start_editor() as editor:
            uri = editor.open(tmp_path / "a.py", "x = \n")
            await editor.ready()
            process = editor.client._server
            assert process is not None
            pipe = process.stdin
            assert pipe is not None
            for body in (
                b"{not json",
                b"[]",
                b"17",
                b'{"jsonrpc": "2.0"}',
                b'{"jsonrpc": "2.0", "id": 7, "method": "textDocument/inlineCompletion", "params": {"x": 1}}',
                b'{"jsonrpc": "2.0", "method": "textDocument/didChange", "params": null}',
                b'{"jsonrpc": "2.0", "method": "no/such/method", "params": {}}',
                b'{"jsonrpc": "2.0", "id": 8, "method": "no/such/method"}',
                b'{"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 12345}}',
                b"\xff\xfe",
            ):
                pipe.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await pipe.drain()
            (item,) = await asyncio.wait_for(editor.inline(uri, 0, 4), 10)
            assert item.insert_text == "answer"

    asyncio.run(go())


def test_in_a_terminal_it_says_what_it_is_and_an_interrupt_ends_it(tmp_path: Path) -> None:
    terminal, stdin = os.openpty()
    command = [str(Path(sys.executable).with_name("holefill")), "serve"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        try:
            assert server.stderr is not None
            assert b"your editor starts it" in server.stderr.readline()
            os.write(terminal, b"no message\n")
            time.sleep(1.0)  # it reads now
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == -signal.SIGINT
        finally:
            server.kill()
            os.close(terminal)
            os.close(stdin)
