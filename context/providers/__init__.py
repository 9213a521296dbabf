"""The sources of context, by the name a user turns off. Each row is a factory over the workspace's index."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.provider import ContextProvider
from holefill.context.providers.class_signatures import ClassSignaturesProvider
from holefill.context.providers.imports import ImportsProvider
from holefill.context.providers.recent_edits import RecentEditsProvider
from holefill.context.providers.similar import SimilarProvider

ProviderFactory = Callable[[WorkspaceIndex], ContextProvider]

# Most stable first: this is the order of their items in a prompt.
PROVIDERS: Mapping[str, ProviderFactory] = MappingProxyType(
    {
        ImportsProvider.name: ImportsProvider,
        ClassSignaturesProvider.name: ClassSignaturesProvider,
        SimilarProvider.name: SimilarProvider,
        RecentEditsProvider.name: RecentEditsProvider,
    }
)
