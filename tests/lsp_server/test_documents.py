"""Which open documents speak for a file of the workspace."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lsprotocol import types

from holefill.context.types.specs import ON_PATH
from holefill.lsp_server.config import Settings, parse_settings
from holefill.lsp_server.server import create


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_another_view_of_a_file_is_not_the_file(tmp_path: Path) -> None:
    """A diff's old side, opened and closed beside the edited file, would put the commit's text in its place."""
    server = create(Settings(enable={"*": False}), use_cache=False)
    did_open, did_close = (
        server.protocol.fm.features[name] for name in (types.TEXT_DOCUMENT_DID_OPEN, types.TEXT_DOCUMENT_DID_CLOSE)
    )
    path = tmp_path / "a.py"
    path.write_text("disk = 1\n")
    server.indexes.set_roots([str(tmp_path)])
    index = server.indexes.of(str(tmp_path))
    assert index is not None

    def show(uri: str, text: str) -> None:
        did_open(types.DidOpenTextDocumentParams(types.TextDocumentItem(uri, "python", 1, text)))

    def catch_up(name: str) -> None:
        """What was told before is known when this is."""
        show((tmp_path / name).as_uri(), f"{name} = 1\n")
        until(lambda: index.text(str(tmp_path / name)) is not None)

    try:
        show(path.as_uri(), "unsaved = 1\n")
        catch_up("b.py")
        assert index.text(str(path)) == "unsaved = 1\n"
        commit = path.as_uri().replace("file:", "git:") + "?HEAD"
        show(commit, "committed = 1\n")
        catch_up("c.py")
        assert [one.text for one in server.session.files() if one.path == str(path)] == ["unsaved = 1\n"]
        assert index.text(str(path)) == "unsaved = 1\n"
        did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(commit)))
        catch_up("d.py")
        assert index.text(str(path)) == "unsaved = 1\n"
    finally:
        server.stop()


def test_the_setting_decides_which_typescript_is_asked(tmp_path: Path) -> None:
    server = create(Settings(enable={"*": False}), use_cache=False)
    server.indexes.set_roots([str(tmp_path)])
    index = server.indexes.of(str(tmp_path))
    assert index is not None
    before = server.chat.holes.of(index)
    server.configure(parse_settings({"typescript": ON_PATH}, server.base))
    assert before.closed
    assert server.chat.holes.of(index) is not before
    server.chat.close()
