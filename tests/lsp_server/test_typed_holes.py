"""ChatLSP over the wire: the published shapes, answered by the real server with the real type checker."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from holefill.context.check import Checked, Kind, Problem
from holefill.context.index.records import FileRecord
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.types.oracle import Cap
from holefill.context.types.specs import ON_PATH
from holefill.lsp_server.chat_lsp import ChatLsp, errors
from holefill.lsp_server.convert import offset_at, position_at
from tests.lsp_server.conftest import Editor, ScriptedServer, StartEditor

BANK = """from __future__ import annotations


class Currency:
    code: str


class Amount:
    value: int
    currency: Currency

    def __init__(self, value: int, currency: Currency) -> None:
        self.value = value
        self.currency = currency


def create_amount(value: int, currency: Currency) -> Amount:
    return Amount(value, currency)
"""
MAIN = "from bank import Amount, Currency, create_amount\n\n\ndef pay(amount: Amount) -> None: ...\n\n\npay(\n"
HERE = {"line": 6, "character": 4}


async def ask(editor: Editor, method: str, uri: str, **more: object) -> Any:
    params = {"textDocument": {"uri": uri}, "position": HERE, **more}
    return await editor.client.protocol.send_request_async(f"textDocument/{method}", params)


async def known(editor: Editor, uri: str) -> Any:
    """The first questions may come before the index and the checker are there."""
    until = time.monotonic() + 20
    while True:
        told = await ask(editor, "expectedType", uri)
        if told.location is not None or time.monotonic() > until:
            return told
        await asyncio.sleep(0.05)


def test_every_method_has_its_published_shape(
    start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "bank.py").write_text(BANK)
    engine.answer = lambda prompt: "create_amount(1, None))\n"

    async def go() -> None:
        async with start_editor() as editor:
            uri = editor.open(tmp_path / "main.py", MAIN)
            told = await known(editor, uri)
            assert told.content.kind == "plaintext"
            assert told.content.value == "a type consistent with Amount"
            assert told.location.uri == (tmp_path / "bank.py").as_uri()
            assert told.location.range.start.line == 7

            found = await ask(editor, "relevantTypes", uri)
            assert [one.value.split("\n")[0] for one in found.contents] == ["class Currency:", "class Amount:"]
            assert [one.range.start.line for one in found.locations] == [3, 7]
            headers = await ask(editor, "relevantHeaders", uri)
            assert {one.value.partition("(")[0].removeprefix("def ") for one in headers.contents} == {
                "create_amount",
                "Amount",
            }
            assert len(headers.locations) == len(headers.contents)

            await editor.ready()
            done = await ask(editor, "llmCompletion", uri)
            assert done.snippet.startswith("create_amount(1, None)")
            assert "# Expected type\nAmount" in done.context
            assert "expected type" in (await ask(editor, "aiTutorial", uri)).content.value

    asyncio.run(go())


def test_errors_are_reported_and_resolved(start_editor: StartEditor, engine: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "bank.py").write_text(BANK)

    async def go() -> None:
        async with start_editor() as editor:
            uri = editor.open(tmp_path / "main.py", MAIN)
            await known(editor, uri)
            report = await ask(editor, "errorReport", uri, snippet="create_amont(1, None))")
            assert "create_amont" in report.contents[0].value
            assert "did you mean `create_amount`?" in report.contents[0].value
            assert report.locations[0].range.start.line == 6
            assert (await ask(editor, "errorReport", uri, snippet="Amount(1, Currency()))")).contents == []
            done = await ask(editor, "llmCompletionResolveErrors", uri, snippet="create_amont(1, Currency()))")
            assert done.snippet == "create_amount(1, Currency()))"
            assert done.context == ""

    asyncio.run(go())


def test_a_file_outside_of_all_folders_and_nonsense(start_editor: StartEditor, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside.py"

    async def go() -> None:
        async with start_editor() as editor:
            uri = editor.open(outside, "pay(\n")
            told = await ask(editor, "expectedType", uri)
            assert (told.content.value, told.location) == ("any type", None)
            assert (await ask(editor, "relevantTypes", "file:///not/open.py")).contents == []
            assert (await ask(editor, "relevantHeaders", uri)).contents == []

    asyncio.run(go())


class Fixed(ChatLsp):
    """Says of each snippet how many problems it has."""

    def __init__(self, problems: dict[str, tuple[Problem, ...]]) -> None:
        super().__init__(lambda root: None)
        self.problems = problems
        self.asked: list[str] = []

    def report(self, cursor: Cursor, snippet: str) -> Checked:
        self.asked.append(snippet)
        return Checked(self.problems.get(snippet, ()), True)


def problem(name: str, nearest: str = "", at: int = 0) -> Problem:
    return Problem(Kind.NAME, f"`{name}` is wrong", name, CharOffset(at), CharOffset(at + len(name)), nearest)


CURSOR = Cursor("/a.py", "def f():\n    ", CharOffset(13), "python")


def test_at_most_two_rounds_and_never_a_worse_snippet() -> None:
    chat = Fixed({"a b": (problem("a"), problem("b")), "c": (problem("c"),), "d": (problem("d"),)})
    seen: list[Cursor] = []
    answers = iter(["c", "d", "e"])

    def complete(cursor: Cursor) -> str:
        seen.append(cursor)
        return next(answers)

    done = chat.resolve(CURSOR, "a b", complete)
    assert (done.snippet, done.rounds) == ("c", 2)
    assert "    # name: `a` is wrong\n    # name: `b` is wrong\n    " in seen[0].text
    assert seen[0].prefix.endswith("\n    ")


def test_the_nearest_name_is_tried_before_the_model() -> None:
    chat = Fixed({"fo(fo)": (problem("fo", "foo", 13), problem("fo", "foo", 16))})
    done = chat.resolve(CURSOR, "fo(fo)", lambda cursor: "never")
    assert (done.snippet, done.rounds, done.problems) == ("foo(foo)", 1, ())


def test_hints_of_the_error_text() -> None:
    fix = Problem(Kind.IMPORT, "`json` is not imported", "json", CharOffset(0), CharOffset(4), "", "import json")
    assert errors([fix, problem("a", "b")]) == (
        "import: `json` is not imported (import json)\nname: `a` is wrong (did you mean `b`?)"
    )


def test_positions_are_the_inverse_of_offsets() -> None:
    text = "a😀b\r\né\nlast"
    for encoding in types.PositionEncodingKind:
        for offset in (0, 1, 2, 3, 5, 6, 7, len(text)):
            assert offset_at(text, position_at(text, offset, encoding), encoding) == offset


def test_unsaved_documents_are_seen(tmp_path: Path) -> None:
    from holefill.lsp_server.session import Document

    (tmp_path / "bank.py").write_text("class Amount: ...\n")
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    chat = ChatLsp(lambda root: index)
    text = "from bank import take\ntake(\n"
    cursor = Cursor(str(tmp_path / "main.py"), text, CharOffset(len(text) - 1), "python", str(tmp_path))
    edited = Document(str(tmp_path / "bank.py"), "python", "python", 1, "def take(text: str): ...\n")
    try:
        for choice in ("", ON_PATH):  # another one ends the checkers: those that follow have to see them too
            chat.use_typescript(choice)
            until = time.monotonic() + 20
            while (told := chat.expected(cursor, [edited]).code) == "any type" and time.monotonic() < until:
                time.sleep(0.05)
            assert told == "a type consistent with str"
    finally:
        chat.close()


def test_an_opened_document_is_prepared_before_anybody_asks(tmp_path: Path) -> None:
    """The first question finds the checker up; of documents opened while one is prepared, only the last is."""
    (tmp_path / "bank.py").write_text(BANK)
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    begun, go_on = threading.Event(), threading.Event()
    checked: list[str] = []

    def index_of(root: str | None) -> WorkspaceIndex:
        begun.set()
        go_on.wait(20)
        return index

    class Watched(ChatLsp):
        def report(self, cursor: Cursor, snippet: str) -> Checked:
            checked.append(Path(cursor.path).name)
            return super().report(cursor, snippet)

    chat = Watched(index_of)

    def show(name: str) -> None:
        chat.opened(Cursor(str(tmp_path / name), MAIN, CharOffset(0), "python", str(tmp_path)))

    try:
        show("first.py")
        assert begun.wait(20)
        show("passed.py")
        show("last.py")
        go_on.set()
        until = time.monotonic() + 30
        while checked.count("last.py") < 2 and time.monotonic() < until:
            time.sleep(0.02)
        assert list(dict.fromkeys(checked)) == ["first.py", "last.py"]
        assert chat.holes.of(index).layer("python").caps >= {Cap.HOVER, Cap.REPORT}
    finally:
        chat.close()
    show("late.py")  # while the server stops


def test_closing_ends_the_preparation_of_a_large_workspace(tmp_path: Path) -> None:
    """At the file whose headers are read: no other is, and nothing is checked any more."""
    for number in range(5):
        (tmp_path / f"bank{number}.py").write_text(BANK)
    begun, go_on = threading.Event(), threading.Event()
    read: list[str] = []
    checked: list[str] = []

    class Held(WorkspaceIndex):
        def record(self, path: str) -> FileRecord | None:
            read.append(path)
            begun.set()
            go_on.wait(20)
            return super().record(path)

    class Watched(ChatLsp):
        def report(self, cursor: Cursor, snippet: str) -> Checked:
            checked.append(snippet)
            return super().report(cursor, snippet)

    index = Held(tmp_path)
    index.refresh()
    chat = Watched(lambda root: index)
    chat.opened(Cursor(str(tmp_path / "main.py"), MAIN, CharOffset(0), "python", str(tmp_path)))
    assert begun.wait(20)
    chat.close()
    go_on.set()
    chat._ahead.shutdown(wait=True)
    assert len(read) == 1
    assert not checked


def test_a_folder_first_asked_about_after_the_end_gets_no_checker(tmp_path: Path) -> None:
    index = WorkspaceIndex(tmp_path)
    chat = ChatLsp(lambda root: index)
    chat.close()
    holes = chat.of(Cursor(str(tmp_path / "main.py"), MAIN, CharOffset(0), "python", str(tmp_path)))
    assert holes is not None
    assert holes.layer("python").oracle is None


def test_what_fails_while_a_document_is_prepared_is_logged_and_the_next_is_prepared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str | None] = []

    def index_of(root: str | None) -> WorkspaceIndex | None:
        asked.append(root)
        raise OSError("no such folder")

    chat = ChatLsp(index_of)
    for name in ("first.py", "second.py"):
        chat.opened(Cursor(str(tmp_path / name), MAIN, CharOffset(0), "python", name))
        chat._ahead.submit(lambda: None).result(20)
    chat.close()
    assert asked == ["first.py", "second.py"]
    assert caplog.messages == ["an opened document was not prepared"] * 2
