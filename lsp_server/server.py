"""The pygls object: what a window's server is made of, how a request travels through it, start and stop."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs
from lsprotocol import types
from pygls.lsp.server import LanguageServer

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import Cursor
from holefill.lsp_server import connect, convert
from holefill.lsp_server.chat_lsp import ChatLsp
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.completion import Completion, CompletionRequest, Reason, Trigger
from holefill.lsp_server.config import Parsed, Settings
from holefill.lsp_server.engine_link import EngineLink, Progress, State, Status
from holefill.lsp_server.features import (
    accepted,
    completion,
    cursor,
    documents,
    explain,
    inline_completion,
    typed_holes,
)
from holefill.lsp_server.features import status as status_feature
from holefill.lsp_server.features.index_progress import IndexProgress
from holefill.lsp_server.indexes import Indexes
from holefill.lsp_server.prefetch import Prefetcher
from holefill.lsp_server.protocol import AnsweringProtocol
from holefill.lsp_server.repository_link import RepositoryLink
from holefill.lsp_server.scheduling import Patience, Scheduler
from holefill.lsp_server.session import Session

log = logging.getLogger(__name__)

WORKERS = 4
INVOKED_REPLY_MS = 60_000.0
REPLY_SLACK_MS = 40.0
"""Between the completer's own deadline and an empty reply: postprocessing, and the way to the event loop."""


class HolefillServer(LanguageServer):
    """Lives on the event loop; only frozen snapshots leave it for the worker threads."""

    def __init__(self, base: Settings, cache_dir: Path | None) -> None:
        super().__init__(
            "holefill",
            version("holefill"),
            protocol_cls=AnsweringProtocol,
            converter_factory=convert.converter,
        )
        self.base = base
        self.session = Session()
        self.session.settings = base
        self.problems: tuple[str, ...] = ()
        self.last: Completion | None = None
        self.accepted = 0
        self.edits: types.WorkspaceEditClientCapabilities | None = None
        """What the client's workspace edits can do; None where it takes none from a server."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="holefill-complete")
        self.scheduler: Scheduler[Completion] = Scheduler(self._workers)
        self.repositories = RepositoryLink(lambda: self.engine.backend)
        self.indexes = Indexes(
            cache_dir, IndexProgress(self, self._on_loop), self.repositories.changed, self._folder_removed
        )
        self.chat = ChatLsp(self.indexes.of)
        self.engine = EngineLink(self._connect, self._fetch, self._tell)
        self.prefetcher = Prefetcher(self.engine.prefetch)
        for feature in (documents, inline_completion, accepted, explain, status_feature, typed_holes, cursor):
            feature.register(self)

    def initialize(self, params: types.InitializeParams, parsed: Parsed) -> None:
        """Before capabilities are announced: a client that shows inline completions gets no menu entries as well."""
        self._loop = asyncio.get_running_loop()
        self.configure(parsed)
        self.session.encoding = self.workspace.position_encoding or types.PositionEncodingKind.Utf16
        folders = [folder.uri for folder in params.workspace_folders or ()]
        self.session.set_roots(folders or ([params.root_uri] if params.root_uri else []))
        workspace, document = params.capabilities.workspace, params.capabilities.text_document
        if workspace is not None and workspace.apply_edit:
            self.edits = workspace.workspace_edit or types.WorkspaceEditClientCapabilities()
        if document is None or document.inline_completion is None:
            completion.register(self)

    def configure(self, parsed: Parsed) -> None:
        changed = parsed.settings != self.session.settings
        self.session.settings = parsed.settings
        self.problems = parsed.problems
        logging.getLogger("holefill").setLevel(parsed.settings.log_level.upper())
        self.chat.use_typescript(parsed.settings.typescript)
        if changed:
            self.engine.reset()

    def tell_problems(self) -> None:
        for problem in self.problems:
            self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, problem))
        self.problems = ()

    async def suggest(self, uri: str, request: CompletionRequest) -> Completion:
        """The one way from a handler to the completer."""
        self.prefetcher.cancel()
        settings = self.session.settings
        if not settings.enabled(request.cursor.language):
            return self._keep(Completion("", Reason.DISABLED))
        known = self.engine.recall(request)
        if known is not None:
            self.scheduler.cancel(uri)
            return self._shown(request, known)
        invoked = request.trigger is Trigger.INVOKED
        patience = Patience(
            debounce_ms=0.0 if invoked else settings.debounce_ms,
            reply_ms=INVOKED_REPLY_MS if invoked else (request.due_ms or settings.deadline_ms) + REPLY_SLACK_MS,
        )
        done = await self.scheduler.run(uri, lambda cancel: self.engine.complete(request, cancel), patience)
        return self._shown(request, done or Completion("", Reason.DEADLINE))

    def request_at(
        self, uri: str, position: types.Position, trigger: Trigger, selected: str | None = None
    ) -> CompletionRequest:
        return self.request_for(self.session.cursor(uri, position), trigger, selected)

    def request_for(self, cursor: Cursor, trigger: Trigger, selected: str | None = None) -> CompletionRequest:
        settings = self.session.settings
        due_ms = None if trigger is Trigger.INVOKED else float(settings.deadline_ms - settings.debounce_ms)
        return CompletionRequest(cursor, trigger, selected, due_ms)

    def stop(self) -> None:
        self.scheduler.cancel_all()
        self.prefetcher.stop()
        self.indexes.stop()
        self.repositories.stop()
        self.chat.close()
        self.engine.close()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _shown(self, request: CompletionRequest, completion: Completion) -> Completion:
        self.prefetcher.shown(request, completion)
        return self._keep(completion)

    def _keep(self, completion: Completion) -> Completion:
        self.last = completion
        return completion

    def _connect(self) -> Completer:
        completer = connect.completer(self.session.settings, self.indexes.of, self.chat.holes, self.session.roots)
        self.repositories.connected()
        return completer

    def _fetch(self, progress: Progress) -> None:
        connect.fetch_model(self.session.settings, progress)

    def _folder_removed(self, index: WorkspaceIndex) -> None:
        self.repositories.removed(index)
        self.chat.holes.release(index)

    def _tell(self, status: Status) -> None:
        self._on_loop(lambda: status_feature.show(self, status))
        if status.state is State.READY:
            self.prefetcher.connected()

    def _on_loop(self, call: Any) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(call)

    def report_server_error(self, error: Exception, source: type[Exception]) -> None:
        """A broken message costs its own answer, nothing else. Its content may be code, so only the kind is logged."""
        log.warning("a message could not be handled: %s (%s)", type(error).__name__, source.__name__)


def create(base: Settings, use_cache: bool = True) -> HolefillServer:
    cache = Path(platformdirs.user_cache_dir("holefill", appauthor=False)) / "index" if use_cache else None
    return HolefillServer(base, cache)
