"""ChatLSP: what the type checkers and the index know at a cursor, told in words, and suggestions checked against it.

"Statically contextualizing large language models with typed holes" and its protocol; ``features/typed_holes`` gives the
answers their published shapes.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from holefill.context.check import Checked, Problem, check
from holefill.context.index.records import Located
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.syntax.languages import LANGUAGES, line_comment
from holefill.context.types.registry import HolesRegistry
from holefill.context.types.typed_holes import Questions, TypedHole, TypedHoles
from holefill.lsp_server.guards import refusal
from holefill.lsp_server.session import Document

log = logging.getLogger(__name__)

DEADLINE_MS = 100.0
REPORT_MS = 250.0
START_S = 10.0
MAX_ROUNDS = 2
UNKNOWN = "any type"
TUTORIAL = (
    "Complete the code at the cursor with one expression or statement that fits the expected type. "
    "Use only names that are defined or imported in the file, members that the receiver's type has, and calls that "
    "match the signatures shown. Definitions of types come dependencies first; headers are the functions, methods and "
    "constructors whose result fits best."
)

Complete = Callable[[Cursor], str]
"""A suggestion for a cursor; empty for none."""


@dataclass(frozen=True, slots=True)
class Told:
    """A piece of code, and the place it is from; ``path`` is absolute, offsets are characters."""

    code: str
    path: str = ""
    text: str = ""
    """Of the file at ``path``."""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Snippet:
    snippet: str
    context: str
    problems: tuple[Problem, ...] = ()
    rounds: int = 0


class ChatLsp:
    """Any thread may call. Checkers start with the first question in a folder, or the first document opened there."""

    def __init__(
        self, index_of: Callable[[str | None], WorkspaceIndex | None], holes: HolesRegistry | None = None
    ) -> None:
        """``holes``: the checkers to share; ``close`` ends them."""
        self._index_of = index_of
        self.holes = holes or HolesRegistry()
        self._shown: dict[str, Document] = {}
        self._lock = threading.Lock()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="holefill-opened")
        self._last_opened = ""

    def opened(self, cursor: Cursor) -> None:
        """An editor shows this document now: ``prepare`` in the background, of several opened at once for the last."""
        self._last_opened = cursor.path
        with contextlib.suppress(RuntimeError):  # closed
            self._ahead.submit(self._prepare_last, cursor)

    def _prepare_last(self, cursor: Cursor) -> None:
        if cursor.path != self._last_opened:
            return
        try:
            self.prepare(cursor)
        except Exception:  # the boundary of this thread
            log.exception("an opened document was not prepared")

    def prepare(self, cursor: Cursor) -> None:
        """Have done what the first questions about a document would wait for: the checker is up and has looked at the
        file and what it imports, the workspace's headers are read. Of a folder's first document that takes seconds;
        ``close`` ends it at the next file."""
        holes = self.of(cursor)
        if holes is None or cursor.language not in LANGUAGES or holes.layer(cursor.language).oracle is None:
            return
        holes.layer(cursor.language).ready(START_S)
        holes.learn(START_S)
        # With a name at its end: nothing can be asked about every half-typed line.
        text = f"{cursor.text}\n\n_ = "
        for snippet in ("value", "_"):
            if not holes.closed:
                self.report(replace(cursor, text=text, offset=CharOffset(len(text))), snippet)

    def of(self, cursor: Cursor) -> TypedHoles | None:
        index = self._index_of(cursor.root)
        if index is None or refusal(cursor) is not None:
            return None
        return self.holes.of(index)

    def expected(self, cursor: Cursor, documents: Iterable[Document]) -> Told:
        """ "a type consistent with T", and where T is defined."""
        asked = self._questions(cursor, documents)
        wanted = "" if asked is None else _wanted(asked)
        if asked is None or not wanted:
            return Told(UNKNOWN)
        code = f"a type consistent with {wanted}"
        own = next((one for one in asked.types(wanted, _soon()) if one.name in wanted), None)
        return Told(code) if own is None else _told(code, own.located, asked.index)

    def types(self, cursor: Cursor, documents: Iterable[Document]) -> tuple[Told, ...]:
        asked = self._questions(cursor, documents)
        if asked is None:
            return ()
        return tuple(_told(one.text, one.located, asked.index) for one in asked.types(_wanted(asked), _soon()))

    def headers(self, cursor: Cursor, documents: Iterable[Document]) -> tuple[Told, ...]:
        asked = self._questions(cursor, documents)
        if asked is None:
            return ()
        return tuple(_told(one.text, one.located, asked.index) for one in asked.headers(_wanted(asked), _soon()))

    def summary(self, cursor: Cursor, documents: Iterable[Document]) -> str:
        """Everything that is known, as one text: the context of a completion."""
        holes = self.of(cursor)
        if holes is None:
            return ""
        self._sync(holes, cursor, documents)
        return _summary(holes.query(cursor, _soon()))

    def report(self, cursor: Cursor, snippet: str) -> Checked:
        """New errors that the snippet brings to the cursor."""
        holes = self.of(cursor)
        return Checked() if holes is None else check(holes, cursor, snippet, Deadline.after_ms(REPORT_MS))

    def resolve(self, cursor: Cursor, snippet: str, complete: Complete) -> Snippet:
        """At most two rounds: the nearest right names in place of the wrong ones, else asked again with the errors."""
        report = self.report(cursor, snippet)
        rounds = 0
        while report.problems and rounds < MAX_ROUNDS:
            rounds += 1
            candidate = _with_nearest(cursor, snippet, report.problems)
            after = None if candidate is None else self.report(cursor, candidate)
            if candidate is None or after is None or len(after.problems) >= len(report.problems):
                candidate = complete(_with_errors(cursor, report.problems))
                after = self.report(cursor, candidate) if candidate.strip() else None
            if after is None or len(after.problems) >= len(report.problems):
                break
            snippet, report = candidate, after
        return Snippet(snippet, errors(report.problems), report.problems, rounds)

    def changed_on_disk(self, paths: Iterable[str]) -> None:
        for path in paths:
            if path not in self._shown:
                for holes in self.holes.all():
                    holes.changed_on_disk(path)

    def use_typescript(self, setting: str) -> None:
        """``HolesRegistry.use_typescript``; new checkers are told of every open document."""
        if self.holes.use_typescript(setting):
            with self._lock:
                self._shown = {}

    def close(self) -> None:
        self._ahead.shutdown(wait=False, cancel_futures=True)
        self.holes.close()

    def _questions(self, cursor: Cursor, documents: Iterable[Document]) -> Questions | None:
        holes = self.of(cursor)
        at = None if holes is None else holes.at(cursor)
        if holes is None or at is None:
            return None
        self._sync(holes, cursor, documents)
        return holes.questions(at)

    def _sync(self, holes: TypedHoles, cursor: Cursor, documents: Iterable[Document]) -> None:
        """The checkers see the other documents as the editor has them, saved or not."""
        now = {document.path: document for document in documents if document.path != cursor.path}
        with self._lock:
            before, self._shown = self._shown, now
        for path, document in now.items():
            known = before.get(path)
            if known is None or known.text != document.text:
                holes.sync(path, document.text, document.language)
        for path in before.keys() - now.keys():
            if path != cursor.path:
                holes.sync(path, None, before[path].language)


def _soon() -> Deadline:
    return Deadline.after_ms(DEADLINE_MS)


def _wanted(asked: Questions) -> str:
    """The expected type; after a dot with none, the receiver's."""
    found = asked.expected_type(_soon()).value or asked.receiver_type(_soon()).value
    return "" if found is None else found.text


def _told(code: str, located: Located, index: WorkspaceIndex) -> Told:
    text = index.text(located.path) or ""
    start = 0 if located.symbol is None else located.symbol.start
    offset = len(text.encode("utf-8", "replace")[:start].decode("utf-8", "replace"))
    return Told(code, str(index.root / located.path), text, offset)


def _summary(hole: TypedHole) -> str:
    parts = [f"# Expected type\n{hole.expected_type.text if hole.expected_type else UNKNOWN}"]
    if hole.types:
        parts.append("# Relevant types\n" + "\n".join(one.text for one in hole.types))
    if hole.headers:
        parts.append("# Relevant headers\n" + "\n".join(one.text for one in hole.headers))
    if hole.signature is not None:
        parts.append(f"# Callee\n{hole.signature.label}")
    if hole.members:
        parts.append("# Members\n" + ", ".join(member.name for member in hole.members[:20]))
    return "\n\n".join(parts)


def errors(problems: Iterable[Problem]) -> str:
    """One line per error, with the right name or the import where it is known."""
    lines = []
    for problem in problems:
        hint = (
            f" ({problem.fix})" if problem.fix else f" (did you mean `{problem.nearest}`?)" if problem.nearest else ""
        )
        lines.append(f"{problem.kind.value}: {problem.message}{hint}")
    return "\n".join(lines)


def _with_nearest(cursor: Cursor, snippet: str, problems: tuple[Problem, ...]) -> str | None:
    """The snippet with each wrong name replaced by the right one that is spelled most alike, where there is one."""
    found = snippet
    for problem in sorted(problems, key=lambda one: one.start, reverse=True):
        end = problem.end - cursor.offset
        start = snippet.rfind(problem.name, 0, end) if problem.name else -1
        if problem.nearest and start >= 0:
            found = found[:start] + problem.nearest + found[start + len(problem.name) :]
    return found if found != snippet else None


def _with_errors(cursor: Cursor, problems: tuple[Problem, ...]) -> Cursor:
    """The cursor with the errors as comments above its line."""
    line = cursor.text.rfind("\n", 0, cursor.offset) + 1
    indent = cursor.text[line : cursor.offset][: len(cursor.text[line:]) - len(cursor.text[line:].lstrip(" \t"))]
    comment = line_comment(cursor.language)
    note = "".join(f"{indent}{comment} {error}\n" for error in errors(problems).split("\n"))
    text = cursor.text[:line] + note + cursor.text[line:]
    return replace(cursor, text=text, offset=CharOffset(cursor.offset + len(note)))
