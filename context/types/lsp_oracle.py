"""A checker behind LSP as a ``TypeOracle``: typed hole → signature → annotation → reveal, each recipe self-tested."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.types import probes, replies
from holefill.context.types.holes import hole_at
from holefill.context.types.keeper import Keeper, Limits, resident_bytes
from holefill.context.types.oracle import Answer, Cap, Diagnostic, Hole, Member, Role, Signature, Source, TypeInfo
from holefill.context.types.positions import uri_of
from holefill.context.types.probes import Probe
from holefill.context.types.session import Session, answer_child
from holefill.context.types.specs import LspSpec
from holefill.context.types.transport import Child, ChildError, Json, LateError
from holefill.context.types.type_text import UNION, parse_type

log = logging.getLogger(__name__)

_DIAGNOSTIC = "textDocument/diagnostic"
_HOVER, _TYPE_DEFINITION = "textDocument/hover", "textDocument/typeDefinition"
_CHECK_MEMORY_EVERY = 64
_KEPT_REPLIES = 24
_MAX_ARMS = 4
_Asked = tuple[int, tuple[str, ...], str, str, int]
"""State of the other documents, methods, path, probe's text, offset."""
T = TypeVar("T")


class _UnavailableError(Exception):
    """No answer can be had now; the text is the reason."""


@dataclass(slots=True)
class _Baseline:
    key: tuple[int, str, str, int] = (0, "", "", 0)
    diagnostics: tuple[Diagnostic, ...] = ()


class LspOracle:
    """One child process per workspace folder and checker; one question at a time, any thread may ask."""

    def __init__(self, spec: LspSpec, root: str | None, limits: Limits | None = None) -> None:
        self.spec = spec
        self._root = root
        self._limits = limits or Limits()
        self._keeper: Keeper[Session] = Keeper(spec.name, self._start, _end, self._limits)
        self._lock = threading.Lock()
        self._mirrors: dict[str, tuple[str, str]] = {}
        self._stale: dict[str, None] = {}
        self._caps: frozenset[Cap] = frozenset()
        self._asked = 0
        self._baseline = _Baseline()
        self._replies: OrderedDict[_Asked, tuple[Json, ...]] = OrderedDict()
        self._synced = self._shown = 0
        # They grow with every ``sync``: as of now, and as the question that is being asked found it.

    @property
    def caps(self) -> frozenset[Cap]:
        """Empty until the child is up and tested."""
        return self._caps if self._keeper.reason == "" else frozenset()

    @property
    def reason(self) -> str:
        """Why there are no answers now: ``starting``, ``crashed``, ``gave up``, ``closed``; empty when ready."""
        return self._keeper.reason

    @property
    def child_pid(self) -> int | None:
        session = self._keeper.session()
        return None if session is None else session.child.pid

    def warm_up(self) -> None:
        """Start the child, if it may be started and is not running; returns at once."""
        self._keeper.session()

    def sync(self, path: str, text: str | None, language: str = "") -> None:
        if text is None:
            self._mirrors.pop(path, None)
        else:
            self._mirrors[path] = (text, language or next(iter(self.spec.languages)))
        self._stale[path] = None
        self._synced += 1  # last: who finds it grown finds the rest

    def expected_type(
        self, hole: Hole, deadline: Deadline, least: Callable[[], Hole] | None = None
    ) -> Answer[TypeInfo]:
        return self._answer(lambda session: self._expected(session, hole, least or (lambda: hole), deadline), deadline)

    def receiver_type(self, hole: Hole, deadline: Deadline) -> Answer[TypeInfo]:
        if hole.receiver is None:
            return Answer(None, Source.ORACLE, "no receiver")
        span = hole.receiver
        return self._answer(
            lambda session: self._hovered(session, hole, probes.typed_probe(self.spec, hole, span), deadline), deadline
        )

    def members(self, hole: Hole, deadline: Deadline) -> Answer[tuple[Member, ...]]:
        if hole.receiver is None:
            return Answer(None, Source.ORACLE, "no receiver")

        def ask(session: Session) -> Answer[tuple[Member, ...]]:
            self._need(Cap.MEMBERS)
            found = replies.members(
                self._ask(session, "textDocument/completion", hole, probes.members_probe(hole), deadline)
            )
            # What every object has (``__init__`` and so on) is all that ty offers on a receiver it does not know.
            if not _is_known(found):
                return Answer(None, Source.ORACLE, "unknown")
            return Answer(found + self._of_arms(session, hole, found, deadline), Source.ORACLE)

        return self._answer(ask, deadline)

    def _of_arms(
        self, session: Session, hole: Hole, common: tuple[Member, ...], deadline: Deadline
    ) -> tuple[Member, ...]:
        """Of a union, what some of its types have: code that asks which one it is comes after the dot, or before."""
        if hole.receiver is None:
            return ()
        told = self._hovered(session, hole, probes.typed_probe(self.spec, hole, hole.receiver), deadline).value
        node = parse_type("" if told is None else told.text)
        arms = [text for arm in node.args if (text := str(arm)) != "None"] if node.name == UNION else []
        found: dict[str, Member] = {}
        for arm in arms if 1 < len(arms) <= _MAX_ARMS else ():
            probe = probes.arm_probe(self.spec, hole, arm)
            if probe is not None:
                offered = replies.members(self._ask(session, "textDocument/completion", hole, probe, deadline))
                for member in offered if _is_known(offered) else ():
                    found.setdefault(member.name, replace(member, certain=False))
        for member in common:
            found.pop(member.name, None)
        return tuple(found.values())

    def signatures(self, hole: Hole, deadline: Deadline) -> Answer[tuple[Signature, ...]]:
        if hole.callee is None:
            return Answer(None, Source.ORACLE, "no call")

        def ask(session: Session) -> Answer[tuple[Signature, ...]]:
            self._need(Cap.SIGNATURES)
            found = self._signatures(session, hole, deadline)
            return Answer(found or None, Source.ORACLE, "" if found else "unknown")

        return self._answer(ask, deadline)

    def report(
        self, hole: Hole, filled: str, deadline: Deadline, fill: tuple[int, int] | None = None
    ) -> Answer[tuple[Diagnostic, ...]]:
        def ask(session: Session) -> Answer[tuple[Diagnostic, ...]]:
            self._need(Cap.REPORT)
            if filled == hole.text:  # asked ahead of any fill, for the baseline's sake
                self._baseline_of(session, hole, deadline)
                return Answer((), Source.ORACLE)
            after = self._errors(session, hole, Probe(filled, hole.name_start), deadline)
            known = None if fill is None else replies.new_inside(after, filled, fill, hole.name_start)
            if known is not None:
                return Answer(known, Source.ORACLE)
            before = self._baseline_of(session, hole, deadline)
            return Answer(replies.new_only(after, before, hole.name_start), Source.ORACLE)

        return self._answer(ask, deadline)

    def close(self) -> None:
        self._keeper.close()

    def _expected(
        self, session: Session, hole: Hole, least: Callable[[], Hole], deadline: Deadline
    ) -> Answer[TypeInfo]:
        """H → S → A → B of the measured recipes; the first that knows wins."""
        if probes.wants_nothing(self.spec, hole):
            return Answer(None, Source.HOVER, "unknown")
        hovered = self._hovered(session, hole, probes.hover_probe(self.spec, hole), deadline)
        if hovered.value is not None:
            return hovered
        if hole.role is Role.ARGUMENT and Cap.SIGNATURES in self._caps:
            signature = next(iter(self._signatures(session, hole, deadline)), None)
            active = None if signature is None or signature.active is None else signature.parameters[signature.active]
            if active is not None and not replies.is_unknown(active.annotation):
                return Answer(TypeInfo(active.annotation), Source.SIGNATURE)
            if active is None or not active.annotation:  # the whole file's check could tell no more
                return Answer(None, Source.SIGNATURE, "unknown")
        if hole.annotation and not replies.is_unknown(hole.annotation):
            return Answer(TypeInfo(" ".join(hole.annotation.split())), Source.ANNOTATION)
        return self._revealed(session, hole, least, deadline)

    def _hovered(self, session: Session, hole: Hole, probe: Probe | None, deadline: Deadline) -> Answer[TypeInfo]:
        if probe is None or Cap.HOVER not in self._caps:
            return Answer(None, Source.HOVER, "unknown")
        methods = (_HOVER, _TYPE_DEFINITION) if Cap.DEFINITION in self._caps else (_HOVER,)
        told, *places = self._ask_all(session, methods, hole, probe, deadline)
        text = replies.hover_text(told)
        if replies.is_unknown(text):
            return Answer(None, Source.HOVER, "unknown")
        locations = replies.locations(places[0], uri_of(hole.path), probe) if places else ()
        return Answer(TypeInfo(replies.plain_type(text), locations), Source.HOVER)

    def _revealed(
        self, session: Session, hole: Hole, least: Callable[[], Hole], deadline: Deadline
    ) -> Answer[TypeInfo]:
        pattern = self.spec.reveal_pattern
        if pattern is None or Cap.REVEAL not in self._caps or not probes.may_reveal(self.spec, hole):
            return Answer(None, Source.REVEAL, "unknown")
        probe = probes.reveal_probe(self.spec, least())
        text = replies.revealed(self._ask(session, _DIAGNOSTIC, hole, probe, deadline), probe.text, pattern)
        if replies.is_unknown(text):
            return Answer(None, Source.REVEAL, "unknown")
        return Answer(TypeInfo(replies.plain_type(text)), Source.REVEAL)

    def _signatures(self, session: Session, hole: Hole, deadline: Deadline) -> tuple[Signature, ...]:
        probe = probes.signature_probe(hole)
        return replies.signatures(self._ask(session, "textDocument/signatureHelp", hole, probe, deadline))

    def _baseline_of(self, session: Session, hole: Hole, deadline: Deadline) -> tuple[Diagnostic, ...]:
        key = (self._shown, hole.path, hole.text, int(hole.start))
        if self._baseline.key != key:
            probe = probes.baseline_probe(self.spec, hole)
            self._baseline = _Baseline(key, self._errors(session, hole, probe, deadline))
        return self._baseline.diagnostics

    def _errors(self, session: Session, hole: Hole, probe: Probe, deadline: Deadline) -> tuple[Diagnostic, ...]:
        reply = self._ask(session, _DIAGNOSTIC, hole, probe, deadline)
        return replies.diagnostics(reply, probe.text)

    def _ask(self, session: Session, method: str, hole: Hole, probe: Probe, deadline: Deadline) -> Json:
        return self._ask_all(session, (method,), hole, probe, deadline)[0]

    def _ask_all(
        self, session: Session, methods: tuple[str, ...], hole: Hole, probe: Probe, deadline: Deadline
    ) -> tuple[Json, ...]:
        """What was answered to the same question about the same text is not asked again."""
        self._asked += 1
        if self._asked % _CHECK_MEMORY_EVERY == 0:
            used = resident_bytes(session.child.pid)
            if used is not None and used > self._limits.max_rss_bytes:
                raise ChildError(f"{used >> 20} MiB of memory")
        key = (self._shown, methods, hole.path, probe.text, probe.offset)
        known = self._replies.get(key)
        if known is None:
            known = self._sent(session, methods, hole, probe, deadline)
            if None not in known:  # it may have been refused for the moment
                self._replies[key] = known
            if len(self._replies) > _KEPT_REPLIES:
                self._replies.popitem(last=False)
        return known

    def _sent(
        self, session: Session, methods: tuple[str, ...], hole: Hole, probe: Probe, deadline: Deadline
    ) -> tuple[Json, ...]:
        if deadline.expired():
            raise _UnavailableError("deadline")
        # Diagnostics are of the whole file, cold ones of all that it imports.
        hang_s = self._limits.hang_s * (len(methods) + (_DIAGNOSTIC in methods))
        seconds = min(deadline.remaining_ms() / 1000, hang_s)
        try:
            return session.ask(methods, hole.path, probe.text, probe.offset, hole.language, seconds)
        except LateError as error:
            if seconds >= hang_s:
                raise ChildError(f"no answer to {error} in {seconds:.1f} s") from error
            raise _UnavailableError("deadline") from error

    def _need(self, cap: Cap) -> None:
        if cap not in self._caps:
            raise _UnavailableError("no-oracle")

    def _answer(self, ask: Callable[[Session], Answer[T]], deadline: Deadline) -> Answer[T]:
        began = time.perf_counter()
        session = self._keeper.session(deadline.remaining_ms() / 1000)
        if session is None:
            return Answer(None, Source.ORACLE, self._keeper.reason)
        if not self._lock.acquire(timeout=deadline.remaining_ms() / 1000):
            return Answer(None, Source.ORACLE, "deadline")
        try:
            self._shown = self._synced  # first: a change in between is shown, and its answers are not kept for it
            self._show_mirrors(session)
            found = ask(session)
        except _UnavailableError as error:
            found = Answer(None, Source.ORACLE, str(error))
        except ChildError as error:
            self._keeper.failed(session, str(error))
            found = Answer(None, Source.ORACLE, "crashed")
        finally:
            self._lock.release()
        return Answer(found.value, found.source, found.reason, (time.perf_counter() - began) * 1000)

    def _show_mirrors(self, session: Session) -> None:
        while self._stale:
            path, _ = self._stale.popitem()
            text, language = self._mirrors.get(path, (None, ""))
            session.mirror(path, text, language)
            if text is None:
                session.changed_on_disk(path)

    def _start(self) -> Session:
        child = Child(self.spec.command, self._root, answer_child, self._limits.max_reply_bytes)
        try:
            session = Session(child, self.spec, self._root, self._limits.start_s)
            self._caps = self._self_test(session)
        except (ChildError, LateError) as error:
            child.kill(str(error))
            raise ChildError(f"{self.spec.name} does not start: {error}") from error
        if not self._caps:
            child.kill("self-test")
            raise ChildError(f"{self.spec.name} answers no question of the self-test right")
        self._baseline = _Baseline()
        self._replies.clear()
        self._stale.update(dict.fromkeys(self._mirrors))
        return session

    def _self_test(self, session: Session) -> frozenset[Cap]:
        """Known holes in a document that is on no disk. A recipe that an upgrade broke is dropped, not the oracle."""
        self._caps = frozenset(Cap)
        text, name = self.spec.self_test
        path = os.path.join(self._root or os.path.abspath(os.sep), name)
        language = "python" if "python" in self.spec.languages else "typescript"
        at = text.index("|")
        found = hole_at(Cursor(path, text.replace("|", ""), CharOffset(at), language, self._root))
        assert found is not None  # the self-test's own document
        hole, deadline = found.hole, Deadline.after_ms(self._limits.start_s * 1000)
        works: set[Cap] = set()
        hovered = self._hovered(session, hole, probes.hover_probe(self.spec, hole), deadline).value
        if hovered is not None and hovered.text in ("str", "string"):
            works |= {Cap.HOVER, Cap.DEFINITION}
        signature = next(iter(self._signatures(session, hole, deadline)), None)
        if signature is not None and signature.active == 1:
            works.add(Cap.SIGNATURES)
        if self.spec.reveal_hole:
            revealed = self._revealed(session, hole, lambda: hole, deadline).value
            if revealed is not None and revealed.text == "str":
                works.add(Cap.REVEAL)
        wrong = text.replace("|", "5")
        errors = replies.diagnostics(self._ask(session, _DIAGNOSTIC, hole, Probe(wrong, 0), deadline), wrong)
        if errors:
            works.add(Cap.REPORT)
        if self._offers_members(session, hole, deadline):
            works.add(Cap.MEMBERS)
        missing = sorted(cap.value for cap in frozenset(Cap) - works)
        log.info("%s: ready%s", self.spec.name, f", without {', '.join(missing)}" if missing else "")
        return frozenset(works)

    def _offers_members(self, session: Session, hole: Hole, deadline: Deadline) -> bool:
        text = hole.text.replace("_hole_", '"".')
        probe = Probe(text, text.index('"".') + 3)
        offered = replies.members(self._ask(session, "textDocument/completion", hole, probe, deadline))
        return any(member.name in ("upper", "toUpperCase") for member in offered)


def _is_known(members: tuple[Member, ...]) -> bool:
    """More than what every object has."""
    return any(not member.name.startswith("__") for member in members)


def _end(session: Session, reason: str) -> None:
    session.child.kill(reason)
