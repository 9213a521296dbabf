"""The sources of context, by the name a user turns off: a new one is one file and one row here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.provider import ContextProvider
from holefill.context.providers.callees_callers import CalleesCallersProvider
from holefill.context.providers.class_signatures import ClassSignaturesProvider
from holefill.context.providers.imports import ImportsProvider
from holefill.context.providers.local import LocalProvider
from holefill.context.providers.process import ProcessProvider
from holefill.context.providers.recent_edits import RecentEditsProvider
from holefill.context.providers.similar import SimilarProvider
from holefill.context.providers.typed_hole import TypedHoleProvider
from holefill.context.types.typed_holes import TypedHoles


@dataclass(frozen=True, slots=True)
class Sources:
    """What a provider may draw on, of one workspace folder."""

    index: WorkspaceIndex
    holes: TypedHoles


ProviderFactory = Callable[[Sources], ContextProvider]

# Most stable first: this is the order of their items in a prompt.
PROVIDERS: Mapping[str, ProviderFactory] = MappingProxyType(
    {
        ImportsProvider.name: lambda known: ImportsProvider(known.index),
        ClassSignaturesProvider.name: lambda known: ClassSignaturesProvider(known.index),
        LocalProvider.name: lambda known: LocalProvider(known.index),
        ProcessProvider.name: lambda known: ProcessProvider(known.index),
        CalleesCallersProvider.name: lambda known: CalleesCallersProvider(known.index),
        SimilarProvider.name: lambda known: SimilarProvider(known.index),
        RecentEditsProvider.name: lambda known: RecentEditsProvider(known.index),
        TypedHoleProvider.name: lambda known: TypedHoleProvider(known.holes),
    }
)


def providers(known: Sources, without: Collection[str] = ()) -> tuple[ContextProvider, ...]:
    """All of the table but those turned off."""
    return tuple(make(known) for name, make in PROVIDERS.items() if name not in without)
