"""Cursors that get no suggestion, and why. Checked before anything is read, prompted or logged."""

from __future__ import annotations

import fnmatch
from pathlib import PurePath

from holefill.context.items import Cursor
from holefill.lsp_server.completion import Reason

MAX_CHARS = 16_000_000
BINARY_SAMPLE = 8_192
SECRET_NAMES = (
    ".env", ".env.*", "*.env", ".netrc", ".pgpass", ".htpasswd", ".npmrc", ".pypirc", ".git-credentials",
    "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.asc", "*.gpg",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "credentials", "credentials.json", "secrets.*", "*.tfvars",
)  # fmt: skip
"""File names whose content must not reach a prompt. Narrow on purpose: silence in ``config.json`` helps nobody."""
SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker"})
_EXAMPLES = ("*.example", "*.sample", "*.template", "*.dist")


def is_secret(path: str) -> bool:
    pure = PurePath(path)
    name = pure.name.lower()
    if any(fnmatch.fnmatch(name, pattern) for pattern in _EXAMPLES):
        return False
    if SECRET_FOLDERS.intersection(pure.parts[:-1]):
        return True
    return any(fnmatch.fnmatch(name, pattern) for pattern in SECRET_NAMES)


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
