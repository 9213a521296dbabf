"""What is wrong with a fill that was not wrong before it, and what the right name would be.

With a checker: its errors of the filled text, less those of the hole itself. Without: names, members and calls that the
index proves wrong. Either way a problem is something the fill brought in, so nothing here judges the user's own code.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter

from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.syntax.parsing import Parsed, encode, error_bytes, parse
from holefill.context.syntax.repair import variants
from holefill.context.types.fill_floor import FillFloor
from holefill.context.types.found import Found, Kind
from holefill.context.types.holes import HoleAt
from holefill.context.types.import_names import ECMASCRIPT, statement_for
from holefill.context.types.oracle import Diagnostic
from holefill.context.types.scope import Scope
from holefill.context.types.typed_holes import TypedHoles
from holefill.context.types.unbound import unbound_names

__all__ = ["Checked", "Kind", "Problem", "check", "missing_imports", "prepare"]

_KINDS = {
    "unresolved-reference": Kind.NAME,
    "missing-attribute": Kind.MEMBER,
    "unresolved-attribute": Kind.MEMBER,
    "unresolved-import": Kind.IMPORT,
    "unknown-argument": Kind.KEYWORD,
    "parameter-already-assigned": Kind.KEYWORD,
    "missing-argument": Kind.ARITY,
    "too-many-positional-arguments": Kind.ARITY,
    "positional-only-parameter-as-kwarg": Kind.KEYWORD,
    "invalid-argument-type": Kind.TYPE,
    "invalid-return-type": Kind.TYPE,
    "invalid-assignment": Kind.TYPE,
    "no-matching-overload": Kind.TYPE,
    "unsupported-operator": Kind.TYPE,
    "call-non-callable": Kind.TYPE,
    "not-subscriptable": Kind.TYPE,
    "not-iterable": Kind.TYPE,
    "invalid-await": Kind.TYPE,
    # TypeScript
    "2304": Kind.NAME,
    "2552": Kind.NAME,
    "2339": Kind.MEMBER,
    "2551": Kind.MEMBER,
    "2305": Kind.IMPORT,
    "2307": Kind.IMPORT,
    "2554": Kind.ARITY,
    "2555": Kind.ARITY,
    "2345": Kind.TYPE,
    "2322": Kind.TYPE,
    "2353": Kind.KEYWORD,
    "2561": Kind.KEYWORD,
    "2349": Kind.TYPE,
    "2740": Kind.TYPE,
    "2741": Kind.TYPE,
}
"""Rules of the checkers that are errors for certain; the others are matters of taste or of unfinished code."""
_HALF_KNOWN = re.compile(r"\bUnknown\b|\bSelf@|\bTodo\b|\bAny\b|found `object`|\w@\w")
_EXCUSED = re.compile(r"#\s*(?:type|pyright|ty|mypy):\s*ignore|//\s*@ts-")
_QUOTED = re.compile(r"[`'‘]([\w$.]+)[`'’]")


@dataclass(frozen=True, slots=True)
class Problem:
    """``start`` and ``end`` are characters of the filled text (prefix + fill + suffix)."""

    kind: Kind
    message: str
    name: str
    start: CharOffset
    end: CharOffset
    nearest: str = ""
    """The right name that is spelled most alike."""
    fix: str = ""
    """The import statement that makes it right."""


@dataclass(frozen=True, slots=True)
class Checked:
    problems: tuple[Problem, ...] = ()
    checked: bool = False
    """A checker answered; False: the floor alone, which proves less."""
    elapsed_ms: float = 0.0


def prepare(holes: TypedHoles, cursor: Cursor, deadline: Deadline) -> None:
    """Ask now what every check of a fill at this cursor needs first: while a model writes it, that costs nothing."""
    at = holes.at(cursor)
    if at is not None:
        slim = holes.facts(at).pruned
        holes.layer(cursor.language).report(slim.hole, slim.hole.text, deadline)


def check(holes: TypedHoles, cursor: Cursor, fill: str, deadline: Deadline) -> Checked:
    """Total. ``cursor.text`` is the text with the hole; the fill goes to its offset. Nothing is said of a file that is
    too large to be indexed: parsing it holds up every other thread for seconds."""
    began = time.perf_counter()
    at = holes.at(cursor)
    if at is None or not fill.strip():
        return Checked()
    filled = _Filled.best(cursor, fill, at)
    if filled.errors > at.repair.errors:
        start = CharOffset(cursor.offset)
        problem = Problem(Kind.SYNTAX, "it cannot be parsed", "", start, CharOffset(start + len(fill)))
        return Checked((problem,), False, (time.perf_counter() - began) * 1000)
    facts = holes.facts(at)
    slim = facts.pruned
    place = (int(cursor.offset), cursor.offset + len(fill))
    told = holes.layer(cursor.language).report(slim.hole, slim.filled(filled.text), deadline, place)
    if told.value is None:
        floor = FillFloor(Scope(holes.index, cursor.path, filled.parsed), filled.parsed, filled.start, filled.end)
        proven = (_from_floor(filled, one) for one in floor.problems())
        found = [one for one in proven if not _EXCUSED.search(filled.lines(one.start, one.end))]
    else:
        floor = FillFloor(facts.scope, filled.parsed, filled.start, filled.end, lambda: facts.names)
        found = [one for diagnostic in told.value if (one := _from_checker(filled, floor, diagnostic)) is not None]
    problems = tuple(_explained(holes, cursor, problem) for problem in found)
    return Checked(problems, told.value is not None, (time.perf_counter() - began) * 1000)


@dataclass(frozen=True, slots=True)
class _Filled:
    text: str
    parsed: Parsed
    start: int
    end: int
    """Of the fill, in bytes."""
    errors: int

    @classmethod
    def best(cls, cursor: Cursor, fill: str, at: HoleAt) -> _Filled:
        """With the closers that it still lacks, chosen as for the hole itself."""
        plain = cursor.prefix + fill + cursor.suffix
        end = cursor.offset + len(fill)
        found: _Filled | None = None
        for tail in _tails(cursor.language, plain, end, at.repair.inserted):
            text = plain[:end] + tail + plain[end:]
            parsed = parse(cursor.language, text, at.repair.parsed if found is None else found.parsed)
            start = len(encode(cursor.prefix))
            one = cls(text, parsed, start, start + len(encode(fill)), error_bytes(parsed))
            if found is None or one.errors < found.errors:
                found = one
            if found.errors <= at.repair.errors:
                break
        assert found is not None  # there is always the plain text
        return found

    def concerns(self, start: int, end: int) -> bool:
        """From the line's start, where the target of an assignment or a call is, to the end of the fill.

        Errors elsewhere come and go with what the checker makes of the unfinished text, not with the fill.
        """
        line = self.parsed.source.rfind(b"\n", 0, self.start) + 1
        return start < self.end and end > line

    def lines(self, start: int, end: int) -> str:
        """The lines from one character to another, as a whole."""
        last = self.text.find("\n", end)
        return self.text[self.text.rfind("\n", 0, start) + 1 : len(self.text) if last < 0 else last]

    def chars(self, byte: int) -> CharOffset:
        return CharOffset(len(self.parsed.source[:byte].decode("utf-8", "replace")))

    def bytes(self, offset: int) -> int:
        return len(encode(self.text[:offset]))


def _tails(language: str, plain: str, end: int, inserted: str) -> Iterator[str]:
    """What may be missing behind a fill that ends there, each once, likeliest first; found only as it is asked for."""
    lacks = inserted != "" and _still_lacks(language, plain, end, inserted)
    tried = dict.fromkeys((inserted, "") if lacks else ("", inserted))
    yield from tried
    for tail in variants(language, plain, end):
        if tail not in tried:
            tried[tail] = None
            yield tail
    if plain[:end].rstrip().endswith(":") and " pass" not in tried:
        yield " pass"


def _still_lacks(language: str, plain: str, end: int, inserted: str) -> bool:
    """By its brackets the filled text needs what the hole needed: what it is without need not be parsed, dearly."""
    brought = inserted[0] in ",:" and plain[:end].rstrip().endswith(inserted[0])
    return not brought and variants(language, plain, end)[0] == inserted


def _from_floor(filled: _Filled, found: Found) -> Problem:
    start, end = filled.chars(found.start), filled.chars(found.end)
    return Problem(found.kind, found.message, found.name, start, end, found.nearest)


def _is_doubtful(kind: Kind, message: str) -> bool:
    """The checker itself knows only half of what it complains about."""
    return kind is Kind.TYPE and _HALF_KNOWN.search(message) is not None


def _from_checker(filled: _Filled, floor: FillFloor, diagnostic: Diagnostic) -> Problem | None:
    kind = _KINDS.get(diagnostic.code)
    start, end = filled.bytes(diagnostic.start), filled.bytes(diagnostic.end)
    if kind is None or not filled.concerns(start, end) or _is_doubtful(kind, diagnostic.message):
        return None
    if _EXCUSED.search(filled.lines(diagnostic.start, diagnostic.end)):
        return None
    node = floor.node_at(start, end)
    if kind is Kind.TYPE and node is not None and _is_element(node):
        return None
    spelled = filled.text[diagnostic.start : diagnostic.end]
    quoted = _QUOTED.findall(diagnostic.message)
    near, name = "", spelled if spelled.isidentifier() else ""
    if kind is Kind.NAME:
        near = floor.nearest_name(name)
    elif kind is Kind.MEMBER and node is not None:
        owner = node if node.type in ("attribute", "member_expression") else node.parent
        name = quoted[-1] if quoted else name
        if name[:1].isdigit() or floor.stands_elsewhere(name):
            # An element of a tuple, which TypeScript calls a property; or the user's own code has it: made at run time,
            # or a narrowing that the checker does not see.
            return None
        near = floor.nearest_member(owner) if owner is not None else ""
    elif kind is Kind.KEYWORD and node is not None:
        name = quoted[0] if quoted else name
        near = floor.nearest_keyword(node, name)
    elif quoted:
        name = name or quoted[0]
    return Problem(kind, diagnostic.message, name, diagnostic.start, diagnostic.end, near)


def _is_element(node: tree_sitter.Node) -> bool:
    """The value assigned to an element: of a union of tuples TypeScript wants what fits all of them at once."""
    outer: tree_sitter.Node | None = node
    while outer is not None and not outer.type.endswith("_statement"):
        if outer.type in ("assignment_expression", "augmented_assignment_expression"):
            left = outer.child_by_field_name("left")
            return left is not None and left.type == "subscript_expression"
        outer = outer.parent
    return False


def _explained(holes: TypedHoles, cursor: Cursor, problem: Problem) -> Problem:
    """A name that exists elsewhere is one import away."""
    if problem.kind is not Kind.NAME or not problem.name:
        return problem
    fix = statement_for(holes.index, cursor.path, cursor.language, cursor.text, problem.name)
    if not fix:
        return problem
    message = f"`{problem.name}` is not imported"
    return Problem(Kind.IMPORT, message, problem.name, problem.start, problem.end, problem.nearest, fix)


def missing_imports(holes: TypedHoles, cursor: Cursor, fill: str, deadline: Deadline) -> tuple[str, ...]:
    """Import statements without which the fill names something that the file does not know; none twice."""
    checked = check(holes, cursor, fill, deadline)
    fixes = [problem.fix for problem in checked.problems if problem.fix]
    proves_nothing = not checked.checked and cursor.language in ECMASCRIPT  # the floor, there
    if proves_nothing and holes.index.reads(cursor):
        names = unbound_names(cursor.language, cursor.prefix, fill, cursor.suffix)
        fixes += [statement_for(holes.index, cursor.path, cursor.language, cursor.text, name) for name in names]
    return tuple(dict.fromkeys(fix for fix in fixes if fix))
