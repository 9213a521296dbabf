"""What static analysis knows of the hole itself: its type, the types that one mentions, what makes one, the callee, the
receiver's members ("Statically contextualizing large language models with typed holes").
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace

from holefill.context.items import ByteOffset, Cursor, Item, ItemRole, Span
from holefill.context.provider import Deadline
from holefill.context.syntax.languages import LANGUAGES
from holefill.context.types.holes import hole_at
from holefill.context.types.oracle import Member
from holefill.context.types.signature_text import parameters_in
from holefill.context.types.typed_holes import Questions, TypedHoles

_ASK_MS = 250.0
"""Beyond that an answer is of no use even to the next keystroke: the hole will have another shape."""
_START_S = 10.0
_MAX_MEMBERS = 16
_MAX_LABEL = 200
_CALLABLE = frozenset({"method", "function"})
_CLASS = re.compile(r"(?:export\s+|default\s+|abstract\s+)*(?:class|interface|enum)\b")


class TypedHoleProvider:
    name = "typed_hole"

    def __init__(self, holes: TypedHoles) -> None:
        self._holes = holes

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        if budget_tokens <= 0 or not self._holes.index.reads(cursor):
            return []
        before = time.perf_counter()
        at = hole_at(cursor, repaired=self._holes.index.documents.repaired(cursor))
        if at is None:
            return []
        soon = Deadline.after_ms(min(_ASK_MS, deadline.remaining_ms()))
        items = list(self._items(self._holes.questions(at), soon))
        cost_ms = (time.perf_counter() - before) * 1000
        return [replace(item, cost_ms=cost_ms) for item in items]

    def prepare(self, cursor: Cursor) -> None:
        """Until the checker is up, the floor alone answering before, and the headers are read."""
        if cursor.language in LANGUAGES:
            self._holes.layer(cursor.language).ready(_START_S)
            self._holes.learn(_START_S)

    def _items(self, asked: Questions, deadline: Deadline) -> Iterator[Item]:
        signature = asked.signature(deadline)
        if signature is not None and signature.label:
            callee = "" if asked.hole.callee is None else asked.hole.slice(asked.hole.callee)
            text = _callee(callee, signature.label)
            # A class without a constructor of its own has no parameters to tell, only bases.
            tells = "(" in signature.label and not _CLASS.match(signature.label)
            role = ItemRole.CALLEE if tells else ItemRole.OTHER
            yield Item(text, self.name, symbol_ids=(f"callee {callee}",), score=4.0, role=role)
        told = asked.expected_type(deadline).value
        wanted = "" if told is None else told.text
        receiver = asked.receiver_type(deadline).value
        members = asked.members(wanted, deadline)
        if members and asked.hole.receiver is not None:
            owner = asked.hole.slice(asked.hole.receiver)
            text = f"{owner}: {'' if receiver is None else receiver.text + ' '}has " + ", ".join(_shown(members))
            # What is merely used after the same name elsewhere is not what the receiver has.
            role = ItemRole.OTHER if receiver is None else ItemRole.MEMBERS
            yield Item(text, self.name, symbol_ids=(f"members {owner}",), score=3.0, role=role)
        if wanted:
            yield Item(f"expected type: {wanted}", self.name, symbol_ids=("type",), score=2.5, role=ItemRole.EXPECTED)
        for rank, one in enumerate(asked.types(wanted, deadline)):
            symbol = one.located.symbol
            if symbol is not None:
                span = Span(one.located.path, ByteOffset(symbol.start), ByteOffset(symbol.end))
                yield Item(one.text, self.name, (span,), (one.located.id,), 2.0 - 0.01 * rank)
        for header in asked.headers(wanted, deadline):
            symbol = header.located.symbol
            if symbol is not None:
                span = Span(header.located.path, ByteOffset(symbol.start), ByteOffset(symbol.body))
                ids = (f"{header.located.id}()",)
                yield Item(header.text, self.name, (span,), ids, header.score)


def _callee(spelled: str, label: str) -> str:
    """The signature under the name by which it is called here; some checkers tell the parameters alone."""
    start = label.find("(")
    text = f"{spelled}{label[start:]}" if start >= 0 else f"{spelled}: {label}"
    return text if len(text) <= _MAX_LABEL else text[:_MAX_LABEL].rstrip() + "…"


def _shown(members: tuple[Member, ...]) -> list[str]:
    """What is certain, where anything is: guesses belong into no list of what a type has."""
    certain = [one for one in members if one.certain]
    public = [one for one in certain or members if not one.name.startswith("__")][:_MAX_MEMBERS]
    return [_with_parameters(one) for one in public]


def _with_parameters(member: Member) -> str:
    if member.kind not in _CALLABLE:
        return member.name
    names = [one.name for one in parameters_in(member.type)[1] if one.name not in ("self", "cls")]
    return f"{member.name}({', '.join(names)})"
