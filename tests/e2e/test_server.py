"""The whole path with the real 0.5B: editor → `holefill serve` → `holefill engine` → model → ghost text."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from lsprotocol import types

from tests.lsp_server.conftest import open_editor

REPOSITORY = Path(__file__).resolve().parents[2]
HOLE = "hold = warehouse."
LONG = "numbers = [\n" + "".join(f"    {number},\n" for number in range(1, 60)) + "    "
"""Invites an endless answer: two items alone and the model closes the list at ten, before the test can cancel."""


class RunningEngine:
    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://engine", timeout=30
        )

    def ready(self) -> bool:
        try:
            return bool(self._client.get("/health").json()["status"] == "ok")
        except httpx.HTTPError:
            return False

    def metric(self, name: str) -> int:
        found = re.search(rf"^{re.escape(name)} (\d+)", self._client.get("/metrics").text, re.M)
        return 0 if found is None else int(found[1])


@pytest.fixture(scope="module")
def real_engine(default_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    folder = tmp_path_factory.mktemp("run")
    folder.chmod(0o700)
    command = [str(Path(sys.executable).with_name("holefill")), "engine", "--model", str(default_model_path)]
    process = subprocess.Popen([*command, "--socket", str(folder / "e.sock"), "--idle-minutes", "10"])
    engine = RunningEngine(folder / "e.sock")
    try:
        end = time.monotonic() + 300
        while not engine.ready():
            assert process.poll() is None, "the engine did not start"
            assert time.monotonic() < end, "the engine was never ready"
            time.sleep(0.2)
        yield engine
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.model
def test_an_answer_uses_another_files_api_and_a_cancel_stops_the_engine(
    real_engine: RunningEngine, default_model_path: Path, tmp_path: Path
) -> None:
    workspace = tmp_path / "warehouse"
    shutil.copytree(REPOSITORY / "examples" / "warehouse", workspace)
    text = (workspace / "checkout.py").read_text("utf-8")
    before = text[: text.index(HOLE)]
    line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
    arguments = ["--model", str(default_model_path), "--engine-url", f"unix://{real_engine.socket}"]
    options = {"context_tokens": 512, "max_tokens": 500, "show_probability": 0}

    async def go() -> None:
        async with open_editor(workspace, arguments, options=options) as editor:
            uri = editor.open(workspace / "checkout.py", text.replace(HOLE, ""))
            await editor.ready(120)
            await asyncio.sleep(1.0)  # the index of two files
            for count, char in enumerate(HOLE):
                editor.type(uri, line, column + count, char)
            item, *_ = await editor.inline(uri, line, column + len(HOLE))
            assert item.insert_text == "put_on_hold(sku, quantity)"
            assert "inventory.py" in await editor.explain()

            long = editor.open(workspace / "long.py", LONG)
            answered = real_engine.metric("holefill_completion_tokens_total")
            params = editor.inline_params(long, LONG.count("\n"), 4)
            request = editor.client.protocol.send_request("textDocument/inlineCompletion", params)
            (number,) = [key for key, value in editor.client.protocol._request_futures.items() if value is request]
            await editor.when(lambda: real_engine.metric("holefill_in_flight") == 1, 60)
            editor.client.protocol.notify("$/cancelRequest", types.CancelParams(id=number))
            # One forward pass, which on a busy machine with cold weights takes seconds; 500 tokens would take minutes.
            await editor.when(lambda: real_engine.metric("holefill_in_flight") == 0, 15)
            assert real_engine.metric('holefill_requests_total{finish="cancelled"}') == 1
            assert real_engine.metric("holefill_completion_tokens_total") - answered < 50

    asyncio.run(go())
