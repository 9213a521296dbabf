"""What must never enter an index, a prompt, a log or a cache: files by name, and pieces of text by shape.

Rules are few and precise: a false alarm hides code from the user's own suggestions.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import PurePath

_NAMES = (
    ".env",
    ".env.*",
    "*.env",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".pypirc",
    ".pgpass",
    ".htpasswd",
    ".git-credentials",
    "credentials.json",
    "client_secret*.json",
    "service-account*.json",
    "secrets.*",
)
# Source modules may be called like that; what they hold is judged by content.
_CODE = frozenset(
    {".py", ".pyi", ".ts", ".tsx", ".js", ".jsx", ".mjs", ".java", ".go", ".rs", ".cs", ".c", ".h", ".cpp"}
)

# Each pattern with a literal that any match contains: looking for the literal first keeps clean text cheap.
_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "PRIVATE KEY",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z ]*PRIVATE KEY[A-Z ]*-----|\Z)", re.S),
    ),
    ("AKIA", re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    ("ASIA", re.compile(r"\bASIA[0-9A-Z]{16}\b")),
    ("gh", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b")),
    ("github_pat_", re.compile(r"\bgithub_pat_[A-Za-z0-9_]{40,}\b")),
    ("glpat-", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}")),
    ("xox", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{20,}")),
    ("AIza", re.compile(r"\bAIza[A-Za-z0-9_-]{35}\b")),
    ("sk_live_", re.compile(r"\b[rs]k_live_[A-Za-z0-9]{20,}\b")),
    ("rk_live_", re.compile(r"\brk_live_[A-Za-z0-9]{20,}\b")),
    ("sk-", re.compile(r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}")),
    ("hf_", re.compile(r"\bhf_[A-Za-z0-9]{34,}\b")),
    ("npm_", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
    ("pypi-", re.compile(r"\bpypi-[A-Za-z0-9_-]{50,}")),
    ("eyJ", re.compile(r"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}")),
    ("://", re.compile(r"(?<=://)[^\s/:@\"'{}$<>%]+:[^\s/:@\"'{}$<>%]{6,}(?=@)")),
)
_ASSIGNED = re.compile(
    r"""(?i)(?:api_?key|secret|passw(?:or)?d|passphrase|auth_?token|access_?token)\w*["']?\s*[:=]\s*"""
    r"""["'](?P<value>(?=[^"'\s]*[0-9])(?=[^"'\s]*[A-Za-z])[A-Za-z0-9+/=_.-]{20,})["']"""
)
_ASSIGNED_WORDS = ("key", "secret", "passw", "passphrase", "token")
"""One of them is in whatever ``_ASSIGNED`` matches."""


def is_secret_file(path: str) -> bool:
    """Whether the file's name alone says that it holds credentials."""
    pure = PurePath(path)
    name = pure.name.lower()
    if pure.suffix.lower() in _CODE:
        return False
    return any(fnmatchcase(name, pattern) for pattern in _NAMES)


def redact(text: str) -> str:
    """The same text with every credential overwritten by ``*``; length and line ends stay, so offsets stay valid."""
    for literal, pattern in _SHAPES:
        if literal in text:
            text = pattern.sub(lambda match: _stars(match.group()), text)
    folded = text.casefold()
    if not any(word in folded for word in _ASSIGNED_WORDS):
        return text
    return _ASSIGNED.sub(lambda match: match.group().replace(match["value"], _stars(match["value"])), text)


def has_secret(text: str) -> bool:
    return redact(text) != text


def _stars(secret: str) -> str:
    return "".join(char if char == "\n" else "*" for char in secret)
