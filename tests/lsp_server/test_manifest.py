"""The extension's manifest offers the server's settings: same names, defaults and bounds."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from holefill.context.providers import PROVIDERS
from holefill.lsp_server.config import _BOUNDS, EXTENSION_ONLY, LOG_LEVELS, Settings

MANIFEST = Path(__file__).resolve().parents[2] / "vscode-extension" / "package.json"
OFFERED = {
    re.sub("([A-Z])", r"_\1", name.removeprefix("holefill.")).lower(): row
    for name, row in json.loads(MANIFEST.read_text())["contributes"]["configuration"]["properties"].items()
}


def test_every_setting_is_offered_and_understood() -> None:
    known = {entry.name for entry in dataclasses.fields(Settings)}
    assert known <= OFFERED.keys()
    assert OFFERED.keys() <= known | EXTENSION_ONLY


def test_defaults_and_bounds_are_the_servers() -> None:
    defaults = {name: list(value) if isinstance(value, tuple) else value
                for name, value in dataclasses.asdict(Settings()).items()}  # fmt: skip
    defaults["enable"] = {"*": True}  # says what an empty one means
    assert {name: OFFERED[name]["default"] for name in defaults} == defaults
    for name, (low, high) in _BOUNDS.items():
        assert (OFFERED[name]["minimum"], OFFERED[name]["maximum"]) == (low, high)
    assert tuple(OFFERED["log_level"]["enum"]) == LOG_LEVELS


def test_the_providers_that_can_be_turned_off_are_those_there_are() -> None:
    assert OFFERED["providers_off"]["items"]["enum"] == list(PROVIDERS)
