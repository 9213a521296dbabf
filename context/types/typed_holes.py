"""All that is known of the type wanted at a cursor: the door to this package for providers, features and evaluation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import Cursor
from holefill.context.provider import Deadline
from holefill.context.types.hole_facts import HoleFacts
from holefill.context.types.holes import HoleAt, hole_at
from holefill.context.types.keeper import Limits
from holefill.context.types.layered import Layered
from holefill.context.types.lsp_oracle import LspOracle
from holefill.context.types.oracle import Answer, Hole, Member, Signature, Source, TypeInfo
from holefill.context.types.ranking import rank_members
from holefill.context.types.relevant_headers import Header, HeaderTable, relevant_headers
from holefill.context.types.relevant_types import RelevantType, relevant_types
from holefill.context.types.scope import Scope
from holefill.context.types.specs import LspSpec, python_spec, typescript_spec

_SHARE = 8
_FAMILIES = {"python": "python", "typescript": "typescript", "tsx": "typescript", "javascript": "typescript"}


@dataclass(frozen=True, slots=True)
class TypedHole:
    """``reason`` says why there is no hole: in a comment, in an import, in a language without a grammar."""

    hole: Hole | None
    expected_type: TypeInfo | None = None
    source: Source = Source.FLOOR
    receiver_type: TypeInfo | None = None
    members: tuple[Member, ...] = ()
    signature: Signature | None = None
    types: tuple[RelevantType, ...] = ()
    headers: tuple[Header, ...] = ()
    reason: str = ""
    elapsed_ms: float = 0.0


class TypedHoles:
    """Of one workspace folder. Checkers start with the first question about their language. Any thread may call."""

    def __init__(
        self, index: WorkspaceIndex, typescript: str = "", limits: Limits | None = None, checkers: bool = True
    ) -> None:
        """``typescript``: which TypeScript 7 (``specs.typescript_spec``).

        Without ``checkers`` the floor answers alone and no process is started.
        """
        self.index = index
        self._checkers = checkers
        self._typescript = typescript
        self._limits = limits
        self._layers: dict[str, Layered] = {}
        self._table = HeaderTable(index)
        self._facts: HoleFacts | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def layer(self, language: str) -> Layered:
        family = _FAMILIES.get(language, "")
        found = self._layers.get(family)
        if found is None:
            spec = self._spec(family)
            oracle = None if spec is None else LspOracle(spec, str(self.index.root), self._limits)
            found = self._layers.setdefault(family, Layered(self.index, oracle))
            if found.oracle is oracle and oracle is not None:
                oracle.warm_up()
        return found

    def sync(self, path: str, text: str | None, language: str) -> None:
        """An open document's text, or None when it is closed or has changed on disk."""
        if language in _FAMILIES:
            self.layer(language).sync(path, text)

    def changed_on_disk(self, path: str) -> None:
        """A file that no editor has open."""
        for layer in self._layers.values():
            layer.sync(path, None)

    def query(self, cursor: Cursor, deadline: Deadline) -> TypedHole:
        began = time.perf_counter()
        at = self.at(cursor)
        if at is None:
            return TypedHole(None, reason="no hole")
        questions = self.questions(at)
        expected = questions.expected_type(deadline)
        receiver = questions.receiver_type(deadline)
        wanted = expected.value.text if expected.value else ""
        told = questions.signature(deadline)
        return TypedHole(
            hole=at.hole,
            expected_type=expected.value,
            source=expected.source,
            receiver_type=receiver.value,
            members=questions.members(wanted, deadline),
            signature=told,
            types=questions.types(wanted or (receiver.value.text if receiver.value else ""), deadline),
            headers=questions.headers(wanted, deadline),
            reason=expected.reason,
            elapsed_ms=(time.perf_counter() - began) * 1000,
        )

    def at(self, cursor: Cursor) -> HoleAt | None:
        """The hole at a cursor, from the repair that everybody shares who asks about the same keystroke."""
        if not self.index.reads(cursor) or not 0 <= cursor.offset <= len(cursor.text):
            return None
        return hole_at(cursor, repaired=self.index.documents.repaired(cursor))

    def learn(self, wait_s: float) -> None:
        """What the first question would have to wait for else: the headers of a whole workspace."""
        self._table.update(Deadline.after_ms(wait_s * 1000))

    def questions(self, at: HoleAt) -> Questions:
        layer = self.layer(at.hole.language)
        layer.floor.adopt(at.hole, at.repair.parsed)
        return Questions(at, layer, self.index, self._table, self.facts(at))

    def facts(self, at: HoleAt) -> HoleFacts:
        """The same for all candidates of one hole, as long as the workspace does not change."""
        known = self._facts
        if known is None or known.at.repair is not at.repair or known.epoch != self.index.epoch:
            known = self._facts = HoleFacts(self.index, at)
            self.layer(at.hole.language).floor.read_ahead(at.hole.path)
        return known

    def close(self) -> None:
        """Ends the checkers and a ``learn`` that runs; from now on the floor answers alone."""
        self._closed = True
        self._table.close()
        for layer in tuple(self._layers.values()):
            layer.close()

    def _spec(self, family: str) -> LspSpec | None:
        root = str(self.index.root)
        if not self._checkers or self._closed:
            return None
        if family == "python":
            return python_spec(root)
        return typescript_spec(root, self._typescript) if family == "typescript" else None


class Questions:
    """What can be asked about one hole; each answer costs only itself."""

    def __init__(self, at: HoleAt, layer: Layered, index: WorkspaceIndex, table: HeaderTable, facts: HoleFacts) -> None:
        self.at = at
        self.slim = facts.skeleton.hole
        """The hole in the buffer that the checker gets to see."""
        self._facts = facts
        self.hole = at.hole
        self.layer = layer
        self.index = index
        self._table = table

    @cached_property
    def scope(self) -> Scope:
        return self.layer.floor.scope(self.hole)

    def expected_type(self, deadline: Deadline) -> Answer[TypeInfo]:
        return self.layer.expected_type(self.hole, deadline, self.slim, lambda: self._facts.pruned.hole)

    def receiver_type(self, deadline: Deadline) -> Answer[TypeInfo]:
        if self.hole.receiver is None:
            return Answer(None, Source.FLOOR, "no receiver")
        return self.layer.receiver_type(self.hole, deadline, self.slim)

    def members(self, wanted: str, deadline: Deadline) -> tuple[Member, ...]:
        """Of the receiver, likeliest first; ``wanted`` is the expected type, if known."""
        if self.hole.receiver is None:
            return ()
        found = self.layer.members(self.hole, deadline, self.slim).value or ()
        if any(member.certain for member in found):
            told = self.receiver_type(deadline).value
            names = {member.name for member in found}
            label = "" if told is None else told.text
            possible = self.layer.floor.possible(self.hole, label, lambda name: self._below(name, deadline), deadline)
            found += tuple(Member(name, certain=False) for name in possible if name not in names)
        observed = self.layer.floor.observed(self.hole, deadline)
        return rank_members(found, self.hole, observed, wanted, self._table.is_subtype)

    def _below(self, name: str, deadline: Deadline) -> frozenset[str]:
        """Subclasses, as far as the workspace has been read; that is done at the start, so little is left to do."""
        self._table.update(Deadline.after_ms(deadline.remaining_ms() / _SHARE))
        return self._table.below(name)

    def signature(self, deadline: Deadline) -> Signature | None:
        """Of the call whose arguments hold the hole."""
        if self.hole.callee is None:
            return None
        return next(iter(self.layer.signatures(self.hole, deadline, self.slim).value or ()), None)

    def types(self, wanted: str, deadline: Deadline) -> tuple[RelevantType, ...]:
        return relevant_types(self.scope, wanted, deadline) if wanted else ()

    def headers(self, wanted: str, deadline: Deadline) -> tuple[Header, ...]:
        return relevant_headers(self._table, self.scope, self.hole, wanted, deadline) if wanted else ()
