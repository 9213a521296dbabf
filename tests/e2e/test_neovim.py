"""The real Neovim (0.12, inline completion built in): type, ghost text of the real model, Tab, saved file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.e2e.conftest import WarmEngine

REPOSITORY = Path(__file__).resolve().parent.parent.parent
NEOVIM = REPOSITORY / "vscode-extension" / "e2e" / "neovim" / "nvim"
HOLEFILL = REPOSITORY / ".venv" / "bin" / "holefill"
NAMESPACE = "nvim.lsp.inline_completion"
PATIENCE_S = 120.0
POLL_S = 0.05

INIT = """\
vim.lsp.config('holefill', {{cmd={{{holefill}, 'serve'}}, filetypes={{'python'}}, root_markers={{'inventory.py'}},
  init_options={{model={model}, deadlineMs=60000, showProbability=0}},
  handlers={{['holefill/status']=function(_, status) vim.g.holefill_state = status.state end}}}})
vim.lsp.enable('holefill')
vim.lsp.inline_completion.enable()
vim.keymap.set('i', '<Tab>', function()
  if not vim.lsp.inline_completion.get() then return '<Tab>' end
end, {{expr=true}})
"""
GHOST = f"""
local text = {{}}
local space = vim.api.nvim_get_namespaces()['{NAMESPACE}']
for _, mark in ipairs(space and vim.api.nvim_buf_get_extmarks(0, space, 0, -1, {{details=true}}) or {{}}) do
  for _, chunk in ipairs(mark[4].virt_text or {{}}) do table.insert(text, chunk[1]) end
end
return table.concat(text)
"""


T = TypeVar("T")


@pytest.fixture
def nvim(warm_engine: WarmEngine, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if not NEOVIM.exists():  # also in CI: Debian's testing release moves, and its absence is no fault of ours
        pytest.skip("NEOVIM 0.12 COULD NOT BE HAD: `make test-editor-setup` says why")
    pynvim = pytest.importorskip("pynvim", reason="PYNVIM IS MISSING: pip install -e '.[dev]'")
    monkeypatch.setenv("HOLEFILL_RUNTIME_DIR", str(warm_engine.runtime))
    monkeypatch.chdir(workspace)
    init = tmp_path / "init.lua"
    init.write_text(INIT.format(holefill=json.dumps(str(HOLEFILL)), model=json.dumps(str(warm_engine.model))))
    editor = pynvim.attach("child", argv=[str(NEOVIM), "--embed", "--headless", "--clean", "-u", str(init)])
    try:
        yield editor
    finally:
        editor.close()


def until(what: str, holds: Callable[[], T]) -> T:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(POLL_S)
    raise AssertionError(f"not within {PATIENCE_S:.0f} s: {what}")


@pytest.mark.editor
@pytest.mark.model
@pytest.mark.timeout(400)
def test_ghost_text_is_accepted_with_tab(nvim: Any, workspace: Path) -> None:
    opened = (workspace / "checkout.py").read_text()
    nvim.command("edit checkout.py")
    until("the engine is ready", lambda: nvim.vars.get("holefill_state") == "ready")
    nvim.input("10GA+")
    ghost = until("ghost text", lambda: nvim.exec_lua(GHOST))
    assert ghost.strip() == "b"
    nvim.input("<Tab>")
    until("the accepted line", lambda: nvim.current.line.rstrip() == "    return a + b")
    nvim.input("<Esc>")
    nvim.command("write")
    saved = (workspace / "checkout.py").read_text()
    assert saved == opened.replace("return a \n", "return a + b\n")
