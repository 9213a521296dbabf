"""The languages this layer parses, one row each; grammars and queries are loaded on first use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from types import MappingProxyType

import tree_sitter

TEXT = "text"
"""The language of files no row claims."""


@dataclass(frozen=True, slots=True)
class Language:
    """Facts that differ between languages; code elsewhere asks for a fact, never for a name."""

    name: str
    extensions: tuple[str, ...]
    lsp_ids: tuple[str, ...]
    module: str
    """Package of the grammar."""
    query: str = ""
    """File in ``queries`` without its suffix; empty: the language's own name."""
    entry: str = "language"
    line_comment: str = "//"
    block_comment: tuple[str, str] | None = ("/*", "*/")
    strings: tuple[str, ...] = ('"',)
    """String delimiters, longest first. Those of one character end at the line's end unless in ``multiline``."""
    multiline: tuple[str, ...] = ()
    indented_blocks: bool = False
    semicolons: bool = True
    block_words: tuple[str, ...] = ("if", "for", "while", "switch", "else", "do", "try", "catch")
    """First words of statements that need a block."""


_JS_STRINGS = ("`", '"', "'")
_PYTHON_BLOCKS = (
    *("if", "elif", "else", "for", "while", "with", "try", "except", "finally"),
    *("def", "class", "match", "case", "async"),
)

_ROWS = (
    Language(
        "python",
        (".py", ".pyi", ".pyw"),
        ("python",),
        "tree_sitter_python",
        line_comment="#",
        block_comment=None,
        strings=('"""', "'''", '"', "'"),
        multiline=('"""', "'''"),
        indented_blocks=True,
        semicolons=False,
        block_words=_PYTHON_BLOCKS,
    ),
    Language(
        "typescript",
        (".ts", ".mts", ".cts"),
        ("typescript",),
        "tree_sitter_typescript",
        entry="language_typescript",
        strings=_JS_STRINGS,
        multiline=("`",),
    ),
    Language(
        "tsx",
        (".tsx",),
        ("typescriptreact",),
        "tree_sitter_typescript",
        query="typescript",
        entry="language_tsx",
        strings=_JS_STRINGS,
        multiline=("`",),
    ),
    Language(
        "javascript",
        (".js", ".jsx", ".mjs", ".cjs"),
        ("javascript", "javascriptreact"),
        "tree_sitter_javascript",
        strings=_JS_STRINGS,
        multiline=("`",),
    ),
    Language("java", (".java",), ("java",), "tree_sitter_java", strings=('"""', '"', "'"), multiline=('"""',)),
    Language(
        "go",
        (".go",),
        ("go",),
        "tree_sitter_go",
        strings=("`", '"', "'"),
        multiline=("`",),
        semicolons=False,
        block_words=("if", "for", "switch", "select", "else", "func"),
    ),
    Language(
        "rust",
        (".rs",),
        ("rust",),
        "tree_sitter_rust",
        multiline=('"',),
        block_words=("if", "for", "while", "match", "else", "loop", "unsafe"),
    ),
    Language(
        "csharp",
        (".cs",),
        ("csharp",),
        "tree_sitter_c_sharp",
        strings=('"""', '"', "'"),
        multiline=('"""',),
        block_words=("if", "for", "foreach", "while", "switch", "else", "do", "try", "catch", "using", "lock"),
    ),
    Language("c", (".c", ".h"), ("c",), "tree_sitter_c", strings=('"', "'")),
    Language(
        "cpp",
        (".cc", ".cpp", ".cxx", ".c++", ".hh", ".hpp", ".hxx", ".h++", ".inl", ".ipp"),
        ("cpp",),
        "tree_sitter_cpp",
        strings=('"', "'"),
    ),
)

LANGUAGES: Mapping[str, Language] = MappingProxyType({row.name: row for row in _ROWS})
_BY_EXTENSION = MappingProxyType({extension: row.name for row in _ROWS for extension in row.extensions})
_BY_LSP_ID = MappingProxyType({lsp_id: row.name for row in _ROWS for lsp_id in row.lsp_ids})


def language_of(path: str, lsp_id: str | None = None) -> str:
    """The language of a document: the editor's word for it first, then the file's extension, else ``text``."""
    if lsp_id is not None and lsp_id in _BY_LSP_ID:
        return _BY_LSP_ID[lsp_id]
    return _BY_EXTENSION.get(PurePath(path).suffix.lower(), TEXT)


def line_comment(language: str) -> str:
    row = LANGUAGES.get(language)
    return "#" if row is None else row.line_comment


@cache
def grammar(language: str) -> tree_sitter.Language:
    row = LANGUAGES[language]
    return tree_sitter.Language(getattr(importlib.import_module(row.module), row.entry)())


@cache
def query(language: str) -> tree_sitter.Query:
    """The language's ``.scm``: captures ``definition.KIND``, ``name``, ``body``, ``parent``, ``import``."""
    name = LANGUAGES[language].query or language
    text = files("holefill.context.syntax").joinpath("queries", f"{name}.scm").read_text("utf-8")
    return tree_sitter.Query(grammar(language), text)
