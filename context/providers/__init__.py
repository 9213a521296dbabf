"""The sources of context, by the name a user turns off. Each row is a factory over the workspace's index."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.provider import ContextProvider
from holefill.context.providers.imports import ImportsProvider

ProviderFactory = Callable[[WorkspaceIndex], ContextProvider]

PROVIDERS: Mapping[str, ProviderFactory] = MappingProxyType({"imports": ImportsProvider})
