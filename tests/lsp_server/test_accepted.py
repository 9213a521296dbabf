"""What an accepted suggestion needs imported is added to its file, in one edit, by the real server over stdio."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from lsprotocol import types

from holefill.lsp_server.convert import apply_change
from tests.lsp_server.conftest import Editor, ScriptedServer, StartEditor

PYTHON = '"""Doc."""\nfrom __future__ import annotations\n\nimport os\n\n\ndef f(path: str) -> None:\n    \n'
SCRIPT = "import { a } from './shop'\n\nexport function f(n: number) {\n  \n}\n"
ALL = types.WorkspaceClientCapabilities(
    apply_edit=True, workspace_edit=types.WorkspaceEditClientCapabilities(document_changes=True)
)
PLAIN = types.WorkspaceClientCapabilities(apply_edit=True)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text("def put_on_hold(path: str) -> None: ...\n")
    (tmp_path / "other.py").write_text("from pathlib import Path\n\nHERE = Path()\n")
    (tmp_path / "shop.ts").write_text("export const a = 1\nexport function discount(n: number) { return n }\n")
    return tmp_path


async def indexed(editor: Editor, workspace: Path) -> None:
    """Until the server knows what the other files define."""
    uri = editor.open(workspace / "probe.py", "\n")
    asked = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 0}, "snippet": "put_on_hold"}
    for _ in range(400):
        told = await editor.client.protocol.send_request_async("textDocument/errorReport", asked)
        if "shop" in str(told):
            return
        await asyncio.sleep(0.05)
    pytest.fail("the workspace was never indexed")


async def take(editor: Editor, uri: str, line: int, character: int, first: bool = False) -> types.InlineCompletionItem:
    """Accept the suggestion as an editor does; ``first``: the command is sent before the change."""
    (item,) = await editor.inline(uri, line, character)
    assert isinstance(item.insert_text, str)
    if first:
        told = asyncio.ensure_future(editor.taken(item))
        await asyncio.sleep(0.05)
    editor.type(uri, line, character, item.insert_text)
    await (told if first else editor.taken(item))
    return item


def documents(edit: types.WorkspaceEdit) -> list[types.TextDocumentEdit]:
    return [one for one in edit.document_changes or () if isinstance(one, types.TextDocumentEdit)]


def after(text: str, edit: types.WorkspaceEdit, uri: str) -> str:
    changes = edit.changes[uri] if edit.changes else documents(edit)[0].edits
    for change in reversed(changes):  # in the file's order, none in another
        assert isinstance(change, types.TextEdit)
        part = types.TextDocumentContentChangePartial(range=change.range, text=change.new_text)
        text = apply_change(text, part, types.PositionEncodingKind.Utf16)
    return text


@pytest.mark.parametrize(
    ("name", "text", "where", "says", "wanted"),
    [
        (
            "main.py",
            PYTHON,
            (7, 4),
            "put_on_hold(str(Path(path)))",
            PYTHON.replace("import os\n", "import os\nfrom pathlib import Path\nfrom shop import put_on_hold\n"),
        ),
        ("main.py", PYTHON, (7, 4), "print(json.dumps(path))", PYTHON.replace("os\n", "os\nimport json\n")),
        ("main.ts", SCRIPT, (3, 2), "return discount(n + a)", SCRIPT.replace("{ a }", "{ a, discount }")),
    ],
)
def test_one_edit_adds_what_is_missing(
    start_editor: StartEditor,
    engine: ScriptedServer,
    workspace: Path,
    name: str,
    text: str,
    where: tuple[int, int],
    says: str,
    wanted: str,
) -> None:
    engine.answer = lambda prompt: says

    async def go() -> None:
        async with start_editor(workspace=ALL) as editor:
            await indexed(editor, workspace)
            uri = editor.open(workspace / name, text, "python" if name.endswith("py") else "typescript")
            await editor.ready()
            item = await take(editor, uri, *where)
            assert item.insert_text == says
            await editor.when(lambda: editor.edits)
            (edit,) = editor.edits
            assert after(text, edit, uri) == wanted
            assert documents(edit)[0].text_document.version == editor.version

    asyncio.run(go())


def test_the_command_may_come_before_the_change_and_the_edit_be_refused(
    start_editor: StartEditor, engine: ScriptedServer, workspace: Path
) -> None:
    engine.answer = lambda prompt: "on.dumps(path)"

    async def go() -> None:
        async with start_editor(workspace=PLAIN) as editor:
            await indexed(editor, workspace)
            editor.refuse = 1
            text = PYTHON.replace("    \n", "    js\n").replace("\n", "\r\n")
            uri = editor.open(workspace / "main.py", text)
            await editor.ready()
            await take(editor, uri, 7, 6, first=True)
            assert len(editor.edits) == 2  # refused once
            wanted = text.replace("import os\r\n", "import os\r\nimport json\r\n")
            assert [after(text, edit, uri) for edit in editor.edits] == [wanted, wanted]

    asyncio.run(go())


@pytest.mark.parametrize(
    ("capabilities", "options", "says"),
    [
        (None, {}, "json.dumps(path)"),
        (ALL, {"addImports": False}, "json.dumps(path)"),
        (ALL, {}, "print(os.listdir(nowhere_to_be_found))"),
    ],
)
def test_no_edit_where_none_is_wanted_or_possible(
    start_editor: StartEditor,
    engine: ScriptedServer,
    workspace: Path,
    capabilities: types.WorkspaceClientCapabilities | None,
    options: dict[str, bool],
    says: str,
) -> None:
    engine.answer = lambda prompt: says

    async def go() -> None:
        async with start_editor(workspace=capabilities, options=options) as editor:
            await indexed(editor, workspace)
            uri = editor.open(workspace / "main.py", PYTHON)
            await editor.ready()
            await take(editor, uri, 7, 4)
            assert editor.edits == []
            strange = types.ExecuteCommandParams(command="holefill.accepted", arguments=[0, 7])
            await editor.client.workspace_execute_command_async(strange)

    asyncio.run(go())
