"""Names that exist at a place: what an answer may begin with, and what a repair chooses from."""

from __future__ import annotations

import builtins
import re
from dataclasses import replace

from holefill.context.check import Kind, check
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.types.holes import hole_at
from holefill.context.types.oracle import Role
from holefill.context.types.typed_holes import Questions, TypedHoles
from holefill.context.types.visible import visible_names

MAX_NAMES = 2000
_AFTER_DOT = re.compile(r"\.\w*\Z")
_LOOK_BACK = 128
_WORD_END = re.compile(r"\w*\Z")
_OWN = frozenset({"self", "cls", "this"})
_PROBE = "holefill_has_no_such_member"
_CONSTANTS = {"python": ("None", "True", "False"), "": ("null", "true", "false", "undefined", "this")}


def behind_a_dot(cursor: Cursor) -> bool:
    return _AFTER_DOT.search(cursor.prefix[-_LOOK_BACK:]) is not None


def only_members(holes: TypedHoles, cursor: Cursor, due: Deadline) -> tuple[str, ...]:
    """All names that can stand behind the dot at ``cursor``, whole and complete: the word typed of it begins them.

    None where no dot is there, the receiver's type is not certain, or it may have members that nobody can list: then a
    mask would refuse real code.
    """
    if not behind_a_dot(cursor):
        return ()
    word, questions = _behind_the_dot(holes, cursor, cursor.prefix)
    if questions is None:
        return ()
    members = questions.members("", due)
    names = {member.name for member in members if member.certain}
    if not names or len(names) < len(members) or len(names) > MAX_NAMES or _may_define(questions, due):
        return ()
    before = cursor.prefix[: len(cursor.prefix) - len(word)]
    if not _refuses_others(holes, replace(cursor, text=before + cursor.suffix, offset=CharOffset(len(before))), due):
        return ()
    return tuple(sorted(name for name in names if name.startswith(word)))


def certain_members(holes: TypedHoles, cursor: Cursor, kept: str, due: Deadline) -> list[str]:
    """Members that certainly exist on what stands before the dot behind ``kept``."""
    _, questions = _behind_the_dot(holes, cursor, cursor.prefix + kept)
    members = () if questions is None else questions.members("", due)
    return [member.name for member in members if member.certain and not member.name.startswith("__")]


def names_in_sight(cursor: Cursor, kept: str) -> list[str]:
    """Names that can be seen from the hole, that the language has, or that ``kept`` wrote."""
    at = hole_at(cursor)
    if at is None:
        return []
    own = _CONSTANTS.get(cursor.language, _CONSTANTS[""])
    written = re.findall(r"\b[A-Za-z_]\w*", kept)
    return [*visible_names(at), *(dir(builtins) if cursor.language == "python" else ()), *written, *own]


def keywords(holes: TypedHoles, cursor: Cursor, kept: str, due: Deadline) -> list[str]:
    """Names of the arguments that the call around the end of ``kept`` takes."""
    questions = _questions(holes, cursor, cursor.prefix + kept)
    signature = None if questions is None else questions.signature(due)
    return [] if signature is None else [one.name for one in signature.parameters if one.name]


def _behind_the_dot(holes: TypedHoles, cursor: Cursor, prefix: str) -> tuple[str, Questions | None]:
    """The word at the end of ``prefix``, and what can be asked about the place before it."""
    word = _WORD_END.search(prefix)
    assert word is not None, "it matches the empty word"
    return word.group(), _questions(holes, cursor, prefix[: word.start()])


def _questions(holes: TypedHoles, cursor: Cursor, prefix: str) -> Questions | None:
    """About the hole between ``prefix`` and what stands behind the cursor."""
    at = hole_at(replace(cursor, text=prefix + cursor.suffix, offset=CharOffset(len(prefix))))
    return None if at is None else holes.questions(at)


def _refuses_others(holes: TypedHoles, cursor: Cursor, due: Deadline) -> bool:
    """Whether a member that nobody ever wrote would be an error: not where a class answers to any name, or has a base
    that cannot be found."""
    checked = check(holes, cursor, _PROBE, due)
    return any(problem.kind is Kind.MEMBER and problem.name == _PROBE for problem in checked.problems)


def _may_define(questions: Questions, due: Deadline) -> bool:
    """Whether an attribute of an object of the class that is being written may be set here for the first time."""
    hole = questions.hole
    if hole.role is not Role.STATEMENT or hole.receiver is None:
        return False
    told = questions.receiver_type(due).value
    return hole.slice(hole.receiver) in _OWN or (told is not None and told.text.startswith("Self"))
