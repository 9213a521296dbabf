"""Cursors that get no suggestion, and why. Checked before anything is read, prompted or logged."""

from __future__ import annotations

from pathlib import PurePath

from holefill.context.items import Cursor
from holefill.context.redaction import is_secret_file
from holefill.lsp_server.completion import Reason

MAX_CHARS = 16_000_000
BINARY_SAMPLE = 8_192
SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker"})


def is_secret(path: str) -> bool:
    return is_secret_file(path) or bool(SECRET_FOLDERS.intersection(PurePath(path).parts[:-1]))


def refusal(cursor: Cursor) -> Reason | None:
    if is_secret(cursor.path):
        return Reason.SECRET_FILE
    if len(cursor.text) > MAX_CHARS:
        return Reason.TOO_LARGE
    if not 0 <= cursor.offset <= len(cursor.text):
        return Reason.BAD_POSITION
    near = cursor.text[max(0, cursor.offset - BINARY_SAMPLE) : cursor.offset + BINARY_SAMPLE]
    if "\0" in near or "\0" in cursor.text[:BINARY_SAMPLE]:
        return Reason.BINARY
    return None
