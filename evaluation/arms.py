"""What an evaluation may put into the prompt, by name: the arms that are compared with each other."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from holefill.context.forms import COMMENTS, FORMS
from holefill.context.gather import Gatherer
from holefill.context.index.records import Located
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import ByteOffset, Cursor, Item, Span
from holefill.context.policy import ASKED_FOR
from holefill.context.provider import ContextProvider, Deadline, Preparing, Tokenizer
from holefill.context.providers import PROVIDERS, Sources, providers
from holefill.context.types.registry import HolesRegistry
from holefill.evaluation.cases import Case, DataError
from holefill.evaluation.metrics.identifiers import identifiers
from holefill.evaluation.ring import RingProvider

_MAX_GOLD_LINES = 30


class Definitions(Enum):
    GOLD = "of the names that the true answer takes from other files"
    WRONG = "of as many other names, drawn by the case's id"


@dataclass(frozen=True, slots=True)
class Arm:
    """Providers and form of one arm, or definitions chosen with the true answer in hand."""

    providers: tuple[str, ...] = ()
    form: str = COMMENTS
    definitions: Definitions | None = None


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        "on": Arm(ASKED_FOR),
        "all": Arm(tuple(PROVIDERS)),
        "bm25": Arm(("similar",)),
        "continue": Arm(("imports", "recent_edits")),
        "ring": Arm((RingProvider.name,)),
        "gold": Arm(definitions=Definitions.GOLD),
        "wrong": Arm(definitions=Definitions.WRONG),
        "signature": Arm(("typed_hole",), "signature"),
        "members": Arm(("typed_hole",), "members"),
        "example": Arm(("callees_callers",), "example"),
        "hints": Arm(("typed_hole",), "hints"),
        **{name: Arm((name,)) for name in PROVIDERS},
        **{f"without-{name}": Arm(tuple(one for one in PROVIDERS if one != name)) for name in PROVIDERS},
    }
)
"""``continue`` and ``ring`` are those editors' choices: import definitions and recent edits; llama.vscode's chunks.
A provider's name: it alone."""
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "both": ("off", "on"),
        "add-one-in": ("off", *PROVIDERS),
        "leave-one-out": ("all", *(f"without-{name}" for name in PROVIDERS)),
        "forms": ("off", "signature", "members", "example", "hints"),
        "definitions": ("off", "gold", "wrong"),
    }
)


def arm_named(name: str) -> Arm:
    """A row of ``ARMS``, or ``a+b:form``: the providers a and b in that form."""
    if name in ARMS:
        return ARMS[name]
    chosen, _, form = name.partition(":")
    wanted = tuple(chosen.split("+"))
    if unknown := [one for one in wanted if one not in PROVIDERS]:
        raise DataError(f"no such context as {unknown[0]!r}: there are {', '.join((*GROUPS, *ARMS))}, or a+b:form")
    if (form or COMMENTS) not in FORMS:
        raise DataError(f"no such form as {form!r}: there are {', '.join(FORMS)}")
    return Arm(wanted, form or COMMENTS)


class Repositories:
    """The providers of each workspace, with what they remember and the checkers they ask, for a whole run."""

    def __init__(self) -> None:
        self._holes = HolesRegistry()
        self._providers: dict[WorkspaceIndex, tuple[ContextProvider, ...]] = {}

    def gather(self, arm: Arm, case: Case, index: WorkspaceIndex, cursor: Cursor, tokenizer: Tokenizer) -> Gatherer:
        """A fresh one, without a sticky pack; what is done in the background for an editor is done by now."""
        if arm.definitions is not None:
            names = case.cross_names if arm.definitions is Definitions.GOLD else other_names(index, case)
            return Gatherer([DefinitionsProvider(index, names)], tokenizer)
        known = self._providers.get(index)
        if known is None:
            own = providers(Sources(index, self._holes.of(index)))
            known = self._providers[index] = (*own, RingProvider(index))
        chosen = [provider for provider in known if provider.name in arm.providers]
        for provider in chosen:
            if isinstance(provider, Preparing):
                provider.prepare(cursor)
        return Gatherer(chosen, tokenizer, FORMS[arm.form].shows)

    def close(self) -> None:
        self._holes.close()


def other_names(index: WorkspaceIndex, case: Case) -> tuple[str, ...]:
    """As many names of other files as the true answer uses, none of them in it."""
    records = [index.record(path) for path in index.paths() if path != case.path]
    used = set(identifiers(case.target, case.language)) | set(case.cross_names)
    pool = sorted({symbol.name for record in records if record is not None for symbol in record.symbols} - used)
    return tuple(random.Random(case.id).sample(pool, min(len(pool), len(case.cross_names))))


class DefinitionsProvider:
    """A ``ContextProvider`` that is told which names to define, from other files than the cursor's."""

    name = "definitions"

    def __init__(self, index: WorkspaceIndex, names: tuple[str, ...]) -> None:
        self._index = index
        self._names = names

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        here = self._index.relative(cursor.path)
        found = [one for name in self._names for one in self._index.find(name)[:2] if one.path != here]
        return [item for rank, one in enumerate(found) if (item := self._item(one, 1 / (1 + rank))) is not None]

    def _item(self, located: Located, score: float) -> Item | None:
        symbol, text = located.symbol, self._index.text(located.path)
        if symbol is None or text is None:
            return None
        source = text.encode("utf-8", "replace")[symbol.start : symbol.end].decode("utf-8", "replace")
        shown = textwrap.dedent("\n".join(source.splitlines()[:_MAX_GOLD_LINES]))
        span = Span(located.path, ByteOffset(symbol.start), ByteOffset(symbol.end))
        return Item(shown, self.name, (span,), (located.id,), score)
