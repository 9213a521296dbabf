"""Wires the layers: settings → model files, tokenizer, engine; workspace index → context; all of it → ``Completer``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from holefill.context.gather import Gatherer
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import Cursor, Pack
from holefill.context.provider import Deadline
from holefill.context.providers.imports import ImportsProvider
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.config import Settings
from holefill.lsp_server.engine_link import ModelNotHereError, Progress
from holefill.model.errors import EngineError
from holefill.model.request import Backend
from holefill.model.serving.client import HttpBackend
from holefill.model.serving.launch import LaunchOptions, LocalEngine
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer

IndexOf = Callable[[str | None], WorkspaceIndex | None]


class RepositoryContext:
    """A ``Gather`` over the workspace folder each cursor is in; nothing for files outside of all folders."""

    def __init__(self, index_of: IndexOf, tokenizer: Tokenizer) -> None:
        self._index_of = index_of
        self._tokenizer = tokenizer
        self._gatherers: dict[WorkspaceIndex, Gatherer] = {}

    def __call__(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> Pack:
        index = self._index_of(cursor.root)
        if index is None:
            return Pack()
        gatherer = self._gatherers.get(index)
        if gatherer is None:
            gatherer = self._gatherers.setdefault(index, Gatherer([ImportsProvider(index)], self._tokenizer))
        return gatherer(cursor, budget_tokens, deadline)


def completer(settings: Settings, index_of: IndexOf) -> Completer:
    """Raises ``model.errors.ModelError`` or ``context.errors.ContextError``, whose texts say what to do."""
    store = ModelStore.default()
    if settings.model in store.known and store.find(settings.model) is None:
        raise ModelNotHereError(
            f"the model {settings.model} is not on this machine: run `holefill model pull {settings.model}`"
        )
    path = store.resolve(settings.model)
    tokenizer = Tokenizer.load(path)
    context = RepositoryContext(index_of, tokenizer)
    return Completer(backend(settings), tokenizer, settings.completer_options(), context)


def backend(settings: Settings) -> Backend:
    """A ready engine: somebody else's at ``engine_url``, or our own process, started when it does not run."""
    if settings.engine_url:
        url = settings.engine_url.removeprefix("unix://")
        if url.startswith("/"):
            return HttpBackend(uds=Path(url), token=token_of(settings))
        return HttpBackend(url, token=token_of(settings))
    engine = LocalEngine(LaunchOptions(settings.model))
    engine.ensure()
    return engine


def fetch_model(settings: Settings, progress: Progress) -> None:
    ModelStore.default().pull(settings.model, progress)


def token_of(settings: Settings) -> str | None:
    if not settings.engine_token_file:
        return None
    try:
        return Path(settings.engine_token_file).expanduser().read_text("utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"engine_token_file {settings.engine_token_file} cannot be read ({error})") from error
