"""What the index knows of one file, and how it is found out."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from holefill.context.index.import_statements import Import, import_statements
from holefill.context.redaction import redact
from holefill.context.syntax.calls import Call, calls
from holefill.context.syntax.definitions import Definition, definitions
from holefill.context.syntax.languages import LANGUAGES, language_of
from holefill.context.syntax.parsing import Parsed, parse

CONFIG_FILES = frozenset({"tsconfig.json", "jsconfig.json", "package.json"})
CONFIG = "config"
"""Language of files that steer import resolution; their text is kept."""
_DEFAULT_EXPORT = re.compile(
    r"^export\s+default\s+(?:async\s+)?(?:abstract\s+)?(?:class\s+|function\s*\*?\s*|interface\s+)?([\w$]+)", re.M
)


@dataclass(frozen=True, slots=True)
class FileRecord:
    """``path`` is relative to the workspace root and POSIX style."""

    path: str
    language: str
    digest: str
    symbols: tuple[Definition, ...] = ()
    imports: tuple[Import, ...] = ()
    default_export: str = ""
    config: str = ""
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Located:
    """A definition and the file it stands in; ``symbol`` is None for a module as a whole."""

    path: str
    symbol: Definition | None = None

    @property
    def id(self) -> str:
        return self.path if self.symbol is None else f"{self.path}#{self.symbol.qualified}"


@dataclass(frozen=True, slots=True)
class Caller:
    """A place that calls: the qualified name of the function (empty: the module itself) and its line, from 0."""

    path: str
    name: str
    line: int


def is_config(path: str) -> bool:
    return path.rpartition("/")[2] in CONFIG_FILES


def is_indexable(path: str) -> bool:
    return language_of(path) in LANGUAGES or is_config(path)


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def analyse(path: str, text: str, parsed: Parsed | None = None) -> FileRecord:
    """Parse one file and keep what other files may ask about it; credentials in signatures are blanked."""
    if is_config(path):
        return FileRecord(path, CONFIG, digest(text), config=redact(text))
    language = language_of(path) if parsed is None else parsed.language
    if language not in LANGUAGES:
        return FileRecord(path, language, digest(text))
    parsed = parsed or parse(language, text)
    default = ""
    if LANGUAGES[language].module in ("tree_sitter_typescript", "tree_sitter_javascript"):
        match = _DEFAULT_EXPORT.search(text)
        default = match[1] if match else ""
    symbols = tuple(
        replace(symbol, signature=redact(symbol.signature), doc=redact(symbol.doc)) for symbol in definitions(parsed)
    )
    edges = calls(parsed, symbols)
    return FileRecord(path, language, digest(text), symbols, import_statements(parsed), default, calls=edges)
