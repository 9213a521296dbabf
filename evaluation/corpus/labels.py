"""Labels of a hole's text by the syntax tree of its file: what kind of token every character belongs to, statements
that end before the hole, and the same text with other names for what its functions bind.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tree_sitter

from holefill.context.syntax.parsing import parse
from holefill.evaluation.cardinal_points import cardinal_points
from holefill.evaluation.metrics.brackets import statement_end
from holefill.model.training.labels import Labels, packed_types

STATEMENTS = 2
"""Of a prefix, the last ones."""
MIN_STATEMENT = 4
NEW_NAMES = (
    *("item", "value", "entry", "node", "record", "element", "target", "source", "current", "result", "output", "data"),
    *("buffer", "token", "field", "handle", "payload", "context", "options", "params", "number", "count", "total"),
    *("left", "right", "first", "last", "parent", "child", "owner", "member", "group", "batch", "chunk", "piece"),
    *("cursor", "offset", "limit", "scope", "state", "status", "message", "reply", "query", "filter", "mapping"),
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_NUMBERS = ("integer", "float", "number", "literal")
_OPERATOR = re.compile(r"[-+*/%&|^~<>=!?@]+|\.\.\.|=>|->|:=")
_LAMBDAS = ("function", "method", "lambda", "arrow", "constructor")
_TARGETS = ("assignment", "for_statement", "for_in_clause", "pattern_list", "as_pattern_target", "for_in_statement")
_NAMED_TARGETS = ("variable_declarator", "enhanced_for_statement", "catch_formal_parameter", "resource")


@dataclass(frozen=True, slots=True)
class Leaf:
    start: int
    """Characters of the file."""
    end: int
    letter: str
    variable: bool = False
    """A name looked up by scope: not a member, not a keyword argument's."""
    bound: bool = False
    """Bound here, inside a function."""


def leaves(text: str, language: str) -> list[Leaf]:
    """Tokens of a whole file in order; of a file with errors as the parser sees them."""
    parsed = parse(language, text)
    at = _char_offsets(parsed.source)
    return [
        Leaf(at[node.start_byte], at[node.end_byte], *_kind(node, path))
        for node, path in _walk(parsed.tree.walk())
        if node.end_byte > node.start_byte
    ]


def labels_of(
    tokens: Sequence[Leaf],
    text: str,
    spans: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    comments: str,
    language: str,
    generator: random.Random,
) -> Labels:
    """``spans``: what of ``text`` stands in prefix (below ``comments``), middle and suffix."""
    letters = ["_"] * len(text)
    for leaf in tokens:
        letters[leaf.start : leaf.end] = leaf.letter * (leaf.end - leaf.start)
    types = "c" * len(comments) + "".join("".join(letters[first:end]) for first, end in spans)
    prefix = text[slice(*spans[0])]
    statements = tuple(
        (len(comments) + first, len(comments) + end) for first, end in _statements(prefix, language, generator)
    )
    return Labels(packed_types(types), statements, _renamed(tokens, text, spans, comments, generator))


def _walk(cursor: tree_sitter.TreeCursor) -> Iterator[tuple[tree_sitter.Node, tuple[tuple[str, str], ...]]]:
    """Leaves, and whole strings without parts, each with the (type, field) of itself and what is above, outermost
    first."""
    path: list[tuple[str, str]] = []
    while True:
        node = cursor.node
        assert node is not None
        path.append((node.type, cursor.field_name or ""))
        if cursor.goto_first_child():
            continue
        yield node, tuple(path)
        path.pop()
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return
            path.pop()


def _kind(node: tree_sitter.Node, path: tuple[tuple[str, str], ...]) -> tuple[str, bool, bool]:
    """(letter, looked up by scope, bound here)."""
    name, field = path[-1]
    parent, above = (path[-2] if len(path) > 1 else ("", "")), (path[-3] if len(path) > 2 else ("", ""))
    if "comment" in name:
        return "c", False, False
    if "string" in name or "character" in name or parent[0] in ("string", "string_literal", "template_string", "regex"):
        return "s", False, False
    if name == "identifier" or name.endswith("_identifier") or name.endswith("identifier_pattern"):
        return _name(name, field, parent, above, path)
    if not node.is_named:
        return _mark(name), False, False
    if any(part in name for part in _NUMBERS) and name not in ("null_literal",):
        return "n", False, False
    return ("t" if name.endswith("_type") else "k"), False, False


def _mark(spelling: str) -> str:
    if spelling[:1].isalpha():
        return "k"
    if spelling in "()[]{}" or spelling == "${":
        return "b"
    return "o" if _OPERATOR.fullmatch(spelling) else "u"


def _name(
    name: str, field: str, parent: tuple[str, str], above: tuple[str, str], path: tuple[tuple[str, str], ...]
) -> tuple[str, bool, bool]:
    of, role = parent
    if name == "type_identifier" or of == "type" or of.endswith("type_annotation"):
        return "t", False, False
    if of == "keyword_argument" and field == "name":
        return "a", False, False
    if name != "identifier" or (of, field) in (("attribute", "attribute"), ("field_access", "field")):
        called = above[0] in ("call", "call_expression") and role == "function"
        return ("f" if called else "a"), False, False
    if (of, field) == ("method_invocation", "name"):
        return "f", False, False
    if of in ("call", "call_expression") and field == "function":
        return "f", True, False
    inside = any(word in kind for kind, _ in path[:-1] for word in _LAMBDAS)
    if "parameter" in of or (of.endswith("splat_pattern") and "parameter" in above[0]):
        return ("v" if field == "value" else "p"), True, field != "value"
    if field == "name" and of.endswith(("definition", "declaration")):
        return "d", False, False
    target = field in ("left", "") if of in _TARGETS else of in _NAMED_TARGETS and field in ("name", "left")
    return "v", True, inside and target and above[0] != "field_declaration"


def _char_offsets(source: bytes) -> list[int]:
    """Byte → character, one more than there are bytes."""
    offsets, count = [], -1
    for byte in source:
        count += byte & 0xC0 != 0x80
        offsets.append(count)
    return [*offsets, count + 1]


def _statements(prefix: str, language: str, generator: random.Random) -> list[tuple[int, int]]:
    """Of whole lines only: the last one ends at the hole."""
    found: list[tuple[int, int]] = []
    start = 0
    lines = prefix.split("\n")
    starts = []
    for line in lines:
        starts.append(start)
        start += len(line) + 1
    for number in range(len(lines) - 2, 0, -1):
        points = [point.column for point in cardinal_points(lines[number], language)]
        if not points or len(found) >= STATEMENTS:
            continue
        first = starts[number] + generator.choice(points)
        end = statement_end(prefix[first:], language)
        last = starts[number] + len(lines[number]) if end is None else first + end
        if last - first >= MIN_STATEMENT:
            found.append((first, last))
    return found[::-1]


def _renamed(
    tokens: Sequence[Leaf],
    text: str,
    spans: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    comments: str,
    generator: random.Random,
) -> tuple[str, str, str] | None:
    """Every name that a function binds within the spans, where it stands as a variable; None where there is none.

    A name that is also something else there (a definition, a field that the braces of an object pattern take) stays.
    """
    first, last = spans[0][0], spans[2][1]
    near = [leaf for leaf in tokens if leaf.start >= first and leaf.end <= last and leaf.letter in "vpdfat"]
    spelled = [(leaf, text[leaf.start : leaf.end]) for leaf in near]
    bound = {name for leaf, name in spelled if leaf.bound} - {"self", "cls", "this", "_"}
    taken = {name for leaf, name in spelled if leaf.letter == "d"}
    names = sorted(name for name in bound - taken if not name.startswith("_"))
    if not names:
        return None
    used = {name for _, name in spelled}
    fresh = [name for name in NEW_NAMES if name not in used]
    single = [name for name in _LETTERS if name not in used]
    generator.shuffle(fresh)
    generator.shuffle(single)
    to: dict[str, str] = {}
    for name in names:
        pool = single if len(name) == 1 else fresh
        if pool:
            to[name] = pool.pop()
    places = [(leaf, to[name]) for leaf, name in spelled if leaf.variable and name in to]
    prefix, middle, suffix = (_replaced(text, span, places) for span in spans)
    return comments + prefix, middle, suffix


def _replaced(text: str, span: tuple[int, int], places: Sequence[tuple[Leaf, str]]) -> str:
    at, end = span
    parts: list[str] = []
    for leaf, name in places:
        if at <= leaf.start and leaf.end <= end:
            parts += (text[at : leaf.start], name)
            at = leaf.end
    return "".join((*parts, text[at:end]))
