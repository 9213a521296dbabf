"""Wires the layers: settings → model files, tokenizer, engine; workspace index → context; all of it → ``Completer``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import platformdirs

from holefill.context.gather import Gatherer
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import Cursor, Pack
from holefill.context.policy import NOTHING, Policy, policy_for, read_policies, with_budget
from holefill.context.provider import Deadline, Preparing
from holefill.context.provider import Tokenizer as ContextTokenizer
from holefill.context.providers import Sources, providers
from holefill.context.types.registry import HolesRegistry
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.config import Settings
from holefill.lsp_server.copies import copy_guard
from holefill.lsp_server.engine_link import ModelNotHereError, Progress
from holefill.lsp_server.judge import Judge
from holefill.model.errors import EngineError
from holefill.model.request import Backend
from holefill.model.serving.client import HttpBackend
from holefill.model.serving.launch import LaunchOptions, LocalEngine
from holefill.model.shipped import shipped_adapter
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer
from holefill.model.tuned import TunedError, serving_adapter

IndexOf = Callable[[str | None], WorkspaceIndex | None]


class RepositoryContext:
    """A ``Gather`` over the workspace folder each cursor is in; nothing for files outside of all folders.

    Every provider that is not turned off is asked; which of their items the prompt may show is the policy's choice.
    """

    def __init__(
        self,
        index_of: IndexOf,
        tokenizer: ContextTokenizer,
        policy: Policy = NOTHING,
        off: Collection[str] = (),
        holes: HolesRegistry | None = None,
        patient: bool = False,
    ) -> None:
        """``holes``: the checkers to share, left running at ``close``; without, its own.

        ``patient``: nobody is typing, so background work of the providers is waited for.
        """
        self._patient = patient
        self._index_of = index_of
        self._tokenizer = tokenizer
        self._policy = policy
        self._off = frozenset(off)
        self._own_holes = HolesRegistry() if holes is None else None
        self._holes = holes or self._own_holes
        self._gatherers: dict[WorkspaceIndex, Gatherer] = {}

    def __call__(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> Pack:
        index = self._index_of(cursor.root)
        if index is None or self._holes is None:
            return Pack()
        gatherer = self._gatherers.get(index)
        if gatherer is None:
            self._drop_removed()
            asked = providers(Sources(index, self._holes.of(index)), self._off)
            for provider in asked if self._patient else ():
                if isinstance(provider, Preparing):
                    provider.prepare(cursor)
            made = Gatherer(asked, self._tokenizer, self._policy.admits)
            gatherer = self._gatherers.setdefault(index, made)
        return gatherer(cursor, budget_tokens, deadline)

    def _drop_removed(self) -> None:
        """The gatherers of folders that are no longer the workspace's, which would keep their indexes in memory."""
        for index in [index for index in self._gatherers if self._index_of(str(index.root)) is not index]:
            if (gatherer := self._gatherers.pop(index, None)) is not None:
                gatherer.close()

    def close(self) -> None:
        for gatherer in self._gatherers.values():
            gatherer.close()
        if self._own_holes is not None:
            self._own_holes.close()


def user_policy_file() -> Path:
    """Where a user's own context policies are: ``holefill eval repo --tune-context`` writes it."""
    return Path(platformdirs.user_config_dir("holefill", appauthor=False)) / "policy.toml"


def context_policy(settings: Settings) -> Policy:
    """The user's row for the model, else holefill's; the setting ``context_tokens`` above both. Raises PolicyError."""
    return with_budget(policy_for(settings.model, read_policies(user_policy_file())), settings.context_tokens)


def completer(
    settings: Settings, index_of: IndexOf, holes: HolesRegistry | None = None, roots: Sequence[str] = ()
) -> Completer:
    """``roots``: the workspace's folders. Raises ``model.errors.ModelError`` or ``context.errors.ContextError``, whose
    texts say what to do."""
    store = ModelStore.default()
    if settings.model in store.known and store.find(settings.model) is None:
        raise ModelNotHereError(
            f"the model {settings.model} is not on this machine: run `holefill model pull {settings.model}`"
        )
    path = store.resolve(settings.model)
    tokenizer = Tokenizer.load(path)
    policy = context_policy(settings)
    context = RepositoryContext(index_of, tokenizer, policy, settings.providers_off, holes)
    options = replace(
        settings.completer_options(), context_tokens=policy.budget_tokens, context_form=policy.form, facts=True
    )
    judge = None if holes is None else Judge(index_of, holes)
    copies = copy_guard(None if settings.engine_url else adapter_for(settings, roots), settings.model, index_of)
    return Completer(backend(settings, roots), tokenizer, options, context, judge, copies)


def backend(settings: Settings, roots: Sequence[str] = ()) -> Backend:
    """A ready engine: somebody else's at ``engine_url``, or our own process, started when it does not run."""
    if settings.engine_url:
        url = settings.engine_url.removeprefix("unix://")
        if url.startswith("/"):
            return HttpBackend(uds=Path(url), token=token_of(settings))
        return HttpBackend(url, token=token_of(settings))
    engine = LocalEngine(LaunchOptions(settings.model, adapter=adapter_for(settings, roots)))
    engine.ensure()
    return engine


def adapter_for(settings: Settings, roots: Sequence[str]) -> Path | None:
    """The file the setting names, else the tuned adapter of the workspace (of several folders none, as one engine
    serves them all), else the one that comes with the model. Raises TunedError for a file that is not there."""
    if settings.adapter == "off":
        return None
    if settings.adapter:
        path = Path(settings.adapter).expanduser()
        if not path.is_file():
            raise TunedError(f"the adapter {path} is not there: change the setting adapter, or empty it")
        return path
    own = serving_adapter(roots[0], settings.model) if len(roots) == 1 else None
    return own or shipped_adapter(settings.model)


def fetch_model(settings: Settings, progress: Progress) -> None:
    ModelStore.default().pull(settings.model, progress)


def token_of(settings: Settings) -> str | None:
    if not settings.engine_token_file:
        return None
    try:
        return Path(settings.engine_token_file).expanduser().read_text("utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"engine_token_file {settings.engine_token_file} cannot be read ({error})") from error
