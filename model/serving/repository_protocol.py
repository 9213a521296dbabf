"""``POST /v1/repository``: the messages of ``model.repository`` as JSON."""

from __future__ import annotations

import json
from typing import Any

import cattrs

from holefill.model.errors import EngineError
from holefill.model.repository import RepositoryReply, RepositoryUpdate
from holefill.model.serving.protocol import BadRequestError

PATH = "/v1/repository"
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_BYTES = 32 * 1024 * 1024
"""A batch of a million characters, whatever they are, beside the digests of 100,000 files."""

_CONVERTER = cattrs.Converter(detailed_validation=False)
_WRONG = (AttributeError, LookupError, TypeError, ValueError)


def dump(message: RepositoryUpdate | RepositoryReply) -> dict[str, Any]:
    fields: dict[str, Any] = _CONVERTER.unstructure(message)
    return fields


def load_update(raw: bytes) -> RepositoryUpdate:
    """Raises ``BadRequestError``."""
    try:
        return _CONVERTER.structure(json.loads(raw), RepositoryUpdate)
    except (*_WRONG, RecursionError) as error:
        raise BadRequestError("the body is not a repository update: see model/repository.py for its fields") from error


def load_reply(data: Any) -> RepositoryReply:
    """Raises ``EngineError``."""
    try:
        return _CONVERTER.structure(data, RepositoryReply)
    except _WRONG as error:
        raise EngineError("the engine speaks another version of this protocol: restart it") from error
