"""The floor: what the code itself and the index say, without a checker. Always on, a few milliseconds."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import tree_sitter

from holefill.context.index.records import Located
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.provider import Deadline
from holefill.context.syntax.definitions import Definition
from holefill.context.syntax.parsing import Parsed, encode, parse
from holefill.context.types.alike import alike
from holefill.context.types.binding import Binder, Bound
from holefill.context.types.cooccurrence import Cooccurrence, receiver_key
from holefill.context.types.open_classes import class_around, is_own, possible_members
from holefill.context.types.oracle import (
    Answer,
    Cap,
    Diagnostic,
    Hole,
    Member,
    Parameter,
    Role,
    Signature,
    Source,
    TypeInfo,
)
from holefill.context.types.ranking import Observed
from holefill.context.types.replies import is_unknown
from holefill.context.types.scope import CLASSES, Scope
from holefill.context.types.signature_text import parameters_in, return_type

_ROLES = {
    "python": {
        Role.CONDITION: "bool",
        Role.ITERABLE: "Iterable",
        Role.CONTEXT_MANAGER: "ContextManager",
        Role.RAISED: "BaseException",
    },
    "typescript": {Role.CONDITION: "boolean", Role.ITERABLE: "Iterable"},
}
_LITERAL_TYPES = (
    (re.compile(r"^[rRbBuUfF]{0,2}[\"']"), {"python": "str", "typescript": "string"}),
    (re.compile(r"^\d+$"), {"python": "int", "typescript": "number"}),
    (re.compile(r"^\d*\.\d+$"), {"python": "float", "typescript": "number"}),
)
_MAX_OBSERVED = 250
"""An object of an untyped package can have hundreds: a numeric context, a namespace of functions."""
_MAX_OF_ANY = 100
_BYTES = re.compile(r"[rR]?[bB]")
_LITERALS: Mapping[str, type] = MappingProxyType(
    {
        **{"string": str, "concatenated_string": str, "list": list, "list_comprehension": list, "set": set},
        **{"dictionary": dict, "dictionary_comprehension": dict, "tuple": tuple, "set_comprehension": set},
    }
)
_CONSTRUCTORS = ("__init__", "constructor")


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last buffer asked about; all questions of a keystroke share its tree and scope."""

    text: str
    path: str
    parsed: Parsed
    epoch: int
    scope: Scope
    observed: dict[tuple[int, int, str], Observed] = field(default_factory=dict)
    """By place and receiver."""


class FloorOracle:
    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index
        self._cooccurrence = Cooccurrence(index)
        self._last: _Seen | None = None

    def adopt(self, hole: Hole, parsed: Parsed) -> None:
        """Take the tree of the hole's text from who has it."""
        self._see(hole, parsed)

    def read_ahead(self, path: str) -> None:
        """What a question about this file will want of its neighbours."""
        self._cooccurrence.read_ahead(path)

    @property
    def caps(self) -> frozenset[Cap]:
        return frozenset({Cap.MEMBERS, Cap.SIGNATURES})

    def sync(self, path: str, text: str | None) -> None:
        """The index has its own news."""

    def close(self) -> None:
        """Nothing to end."""

    def expected_type(
        self, hole: Hole, deadline: Deadline, least: Callable[[], Hole] | None = None
    ) -> Answer[TypeInfo]:
        if hole.annotation:
            text = " ".join(hole.annotation.split())
            return Answer(None if is_unknown(text) else TypeInfo(text), Source.ANNOTATION)
        family = "python" if hole.language == "python" else "typescript"
        known = _ROLES[family].get(hole.role) if hole.language in ("python", "typescript", "tsx") else None
        if known is not None:
            return Answer(TypeInfo(known), Source.FLOOR)
        if hole.role in (Role.COMPARED, Role.OPERAND) and hole.subject is not None:
            text = hole.slice(hole.subject).strip()
            literal = next((types.get(family) for pattern, types in _LITERAL_TYPES if pattern.match(text)), None)
            return Answer(None if literal is None else TypeInfo(literal), Source.FLOOR, "" if literal else "unknown")
        if hole.role is Role.ARGUMENT:
            signature = next(iter(self.signatures(hole, deadline).value or ()), None)
            if signature is not None and signature.active is not None:
                wanted = signature.parameters[signature.active].annotation
                if not is_unknown(wanted):
                    return Answer(TypeInfo(wanted), Source.FLOOR)
        return Answer(None, Source.FLOOR, "unknown")

    def receiver_type(self, hole: Hole, deadline: Deadline) -> Answer[TypeInfo]:
        bound = self.bound(hole)
        if bound is None or bound.located.symbol is None or not bound.certain:
            return Answer(None, Source.FLOOR, "unknown")
        return Answer(TypeInfo(bound.located.symbol.name), Source.FLOOR)

    def members(self, hole: Hole, deadline: Deadline) -> Answer[tuple[Member, ...]]:
        """Of the receiver's class where it is known, then those seen after the same name."""
        began = time.perf_counter()
        if hole.receiver is None:
            return Answer(None, Source.FLOOR, "no receiver")
        found: dict[str, Member] = {}
        literal = self._literal(hole)
        if literal is not None:
            names = sorted(dir(literal), key=lambda name: name.startswith("_"))
            return Answer(tuple(Member(name) for name in names), Source.FLOOR)
        bound = self.bound(hole)
        if bound is not None:
            for owner in self.scope(hole).lineage(bound.located)[0]:
                for member in sorted(self._members(hole, owner), key=lambda one: one.name.startswith("_")):
                    kind = "class" if member.kind in CLASSES else member.kind
                    found.setdefault(member.name, Member(member.name, kind, member.signature, bound.certain))
        complete = bound is not None and bound.certain and self.scope(hole).lineage(bound.located)[1]
        if not complete:
            for name in self.seen(hole, deadline):
                found.setdefault(name, Member(name, certain=False))
            if bound is None:
                for name in alike(tuple(self.observed(hole, deadline).file)) if hole.language == "python" else ():
                    found.setdefault(name, Member(name, certain=False))
                # Nothing is known of it: what this file takes from anything, less likely all of it.
                for name, _ in self.observed(hole, deadline).anywhere.most_common(_MAX_OF_ANY):
                    found.setdefault(name, Member(name, certain=False))
        value = tuple(found.values()) or None
        return Answer(value, Source.FLOOR, "" if value else "unknown", (time.perf_counter() - began) * 1000)

    def possible(self, hole: Hole, told: str, below: Callable[[str], Iterable[str]], deadline: Deadline) -> list[str]:
        """Members that a receiver of type ``told`` may have beside those of its definition (``open_classes``)."""
        node = None if hole.receiver is None else self._node(hole, hole.receiver)
        if node is None or hole.language != "python":
            return []
        scope = self.scope(hole)
        own = node.type == "identifier" and is_own(node, self._parsed(hole).source)
        around = class_around(node) if own else None
        name = None if around is None else around.child_by_field_name("name")
        located = None if name is None else scope.resolve(self._parsed(hole).text(name), anywhere=False)
        if located is None:
            bound = self.bound(hole)
            located = bound.located if bound is not None else scope.resolve(told.partition("[")[0]) if told else None
        if located is None or located.symbol is None or located.symbol.kind not in CLASSES:
            return []
        return possible_members(scope, located, own, below, lambda: self.seen(hole, deadline))

    def seen(self, hole: Hole, deadline: Deadline) -> list[str]:
        """Attributes that stand after the same receiver elsewhere, most frequent first; this file's count double."""
        seen = self.observed(hole, deadline)
        return [name for name, _ in (seen.file + seen.file + seen.folder).most_common(_MAX_OBSERVED)]

    def observed(self, hole: Hole, deadline: Deadline) -> Observed:
        """What stands after the same receiver elsewhere."""
        name = "" if hole.receiver is None else receiver_key(hole.slice(hole.receiver))
        place, seen = (hole.start, hole.end, name), self._see(hole).observed
        known = seen.get(place)
        if known is None or not known.complete:
            outside = hole.text[: hole.start] + hole.text[hole.end :]
            known = seen[place] = self._cooccurrence.observed(hole.path, outside, name, deadline)
        return known

    def signatures(self, hole: Hole, deadline: Deadline) -> Answer[tuple[Signature, ...]]:
        located = self.callee(hole)
        if located is None or located.symbol is None:
            return Answer(None, Source.FLOOR, "unknown")
        symbol = self._callable(hole, located)
        label, parameters = parameters_in(symbol.signature) if symbol.kind not in CLASSES else (symbol.signature, ())
        if located.symbol.kind in CLASSES or symbol.parent:
            parameters = tuple(one for one in parameters if one.name not in ("self", "cls"))
        active = _active(hole, parameters)
        return Answer((Signature(label, parameters, active, return_type(label)),), Source.FLOOR)

    def report(
        self, hole: Hole, filled: str, deadline: Deadline, fill: tuple[int, int] | None = None
    ) -> Answer[tuple[Diagnostic, ...]]:
        """Type errors are a checker's work; names and calls are checked by ``context.check``."""
        return Answer(None, Source.FLOOR, "no-oracle")

    def scope(self, hole: Hole) -> Scope:
        return self._see(hole).scope

    def bound(self, hole: Hole) -> Bound | None:
        """What the receiver is."""
        node = None if hole.receiver is None else self._node(hole, hole.receiver)
        if node is None:
            return None
        at = self._node(hole, (hole.name_start, hole.name_end)) or node
        return Binder(self.scope(hole), self._parsed(hole), at).bind(node)

    def _literal(self, hole: Hole) -> type | None:
        """The receiver's type where it is written out: a string, a list."""
        if hole.receiver is None or hole.language != "python":
            return None
        node = self._node(hole, hole.receiver)
        if node is None:
            return None
        is_bytes = node.type == "string" and _BYTES.match(hole.slice(hole.receiver)) is not None
        return bytes if is_bytes else _LITERALS.get(node.type)

    def callee(self, hole: Hole) -> Located | None:
        node = None if hole.callee is None else self._node(hole, hole.callee)
        if node is None or hole.callee is None:
            return None
        scope, parsed = self.scope(hole), self._parsed(hole)
        found = scope.resolve(hole.slice(hole.callee), anywhere=False)
        if found is None and node.type in ("attribute", "member_expression"):
            found = Binder(scope, parsed, node).member(node)
        if found is None or found.symbol is None or found.symbol.kind not in CLASSES | {"function", "method"}:
            return None
        return found

    def _callable(self, hole: Hole, located: Located) -> Definition:
        """The definition whose parameters count: of a class, its constructor's."""
        symbol = located.symbol
        assert symbol is not None
        if symbol.kind not in CLASSES:
            return symbol
        scope = self.scope(hole)
        for owner in scope.lineage(located)[0]:
            for member in scope.at(owner.path).members(owner):
                if member.symbol is not None and member.symbol.name in _CONSTRUCTORS:
                    return member.symbol
        return symbol

    def _members(self, hole: Hole, owner: Located) -> list[Definition]:
        scope = self.scope(hole).at(owner.path)
        return [member.symbol for member in scope.members(owner) if member.symbol is not None]

    def _parsed(self, hole: Hole) -> Parsed:
        return self._see(hole).parsed

    def _see(self, hole: Hole, parsed: Parsed | None = None) -> _Seen:
        last = self._last
        same = last is not None and last.parsed.language == hole.language
        if last is None or not same or last.text != hole.text:
            parsed = parsed or parse(hole.language, hole.text, last.parsed if last is not None and same else None)
        elif last.path == hole.path and last.epoch == self._index.epoch:
            return last
        else:
            parsed = last.parsed
        scope = Scope(self._index, hole.path, parsed)
        self._last = seen = _Seen(hole.text, hole.path, parsed, self._index.epoch, scope)
        return seen

    def _node(self, hole: Hole, span: tuple[int, int]) -> tree_sitter.Node | None:
        ascii_only = hole.text.isascii()
        start, end = span if ascii_only else (len(encode(hole.text[: span[0]])), len(encode(hole.text[: span[1]])))
        return self._parsed(hole).root.descendant_for_byte_range(start, end)


def _active(hole: Hole, parameters: tuple[Parameter, ...]) -> int | None:
    if hole.keyword:
        return next((index for index, one in enumerate(parameters) if one.name == hole.keyword), None)
    if 0 <= hole.argument < len(parameters):
        return hole.argument
    variadic = bool(parameters) and parameters[-1].label.startswith(("*", "..."))
    return len(parameters) - 1 if variadic and hole.argument >= 0 else None
