"""One completion in this process, without editor or server: for the command line, the doctor and scripts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.policy import policy_for, with_budget
from holefill.context.syntax.languages import language_of
from holefill.context.types.registry import HolesRegistry
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.completion import CompleterOptions, Completion, CompletionRequest, Trigger
from holefill.lsp_server.connect import RepositoryContext
from holefill.lsp_server.copies import copy_guard
from holefill.lsp_server.existing_names import behind_a_dot
from holefill.lsp_server.judge import Judge
from holefill.model.cancel import CancelToken

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done."""

CONTEXT_TOKENS = 512
"""Budget of ``--context on``."""
PATIENCE_MS = 5_000.0
"""Nobody is typing: context may take its time."""
ROOT_MARKERS = (".git", "pyproject.toml", "package.json", "go.mod", "Cargo.toml", "pom.xml")


@dataclass(frozen=True, slots=True)
class Shot:
    cursor: Cursor
    completion: Completion
    load_ms: float
    index_ms: float
    device: str


def read_cursor(file: Path, line: int, column: int, root: Path | None = None) -> Cursor:
    """1-based line and column. A position outside the file gives an offset the completer refuses. Raises OSError."""
    raw = file.read_bytes()
    text = raw.decode("utf-8", "replace") if b"\0" not in raw[:8192] else "\0"
    lines = text.split("\n")
    if 1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1:
        offset = CharOffset(sum(len(entry) + 1 for entry in lines[: line - 1]) + column - 1)
    else:
        offset = CharOffset(-1)
    root = root or root_of(file)
    return Cursor(str(file.resolve()), text, offset, language_of(file.name), str(root.resolve()))


def root_of(file: Path) -> Path:
    """The nearest folder above that looks like a project, else the file's own."""
    folder = file.resolve().parent
    for candidate in (folder, *folder.parents):
        if any((candidate / marker).exists() for marker in ROOT_MARKERS):
            return candidate
    return folder


def shoot(
    cursor: Cursor,
    model: str,
    context: bool,
    options: CompleterOptions,
    progress: Progress | None = None,
    adapter: Path | None = None,
) -> Shot:
    """Loads the model, indexes the folder where context is wanted or the members behind a dot have to be known, and
    completes. Raises ModelError or ContextError."""
    from holefill.model.loading import load_engine  # torch: two seconds that other commands need not pay

    start = time.perf_counter()
    engine = load_engine(model, wait_for_masks=True, adapter=adapter, progress=progress)
    loaded = time.perf_counter()
    index = _index(cursor) if context or behind_a_dot(cursor) else None
    indexed = time.perf_counter()
    options = replace(options, context_tokens=CONTEXT_TOKENS if context else 0, gather_ms=PATIENCE_MS)
    policy = with_budget(policy_for(model), CONTEXT_TOKENS)
    registry = HolesRegistry()
    repository = RepositoryContext(lambda root: index, engine.tokenizer, policy, holes=registry, patient=True)
    try:
        if index is not None:
            registry.of(index).layer(cursor.language).ready(PATIENCE_MS / 1000)
        copies, judge = copy_guard(adapter, model, lambda root: index), Judge(lambda root: index, registry)
        completer = Completer(engine, engine.tokenizer, options, repository if context else None, judge, copies)
        completion = completer.complete(CompletionRequest(cursor, Trigger.INVOKED), CancelToken())
    finally:
        repository.close()
        registry.close()
        engine.close()
    return Shot(cursor, completion, (loaded - start) * 1000, (indexed - loaded) * 1000, "cpu")


def _index(cursor: Cursor) -> WorkspaceIndex | None:
    if cursor.root is None:
        return None
    index = WorkspaceIndex(cursor.root)
    index.refresh()
    return index
