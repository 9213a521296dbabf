"""What checkers reply → our types. Total: a reply of an unexpected shape is an empty answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from holefill.context.items import CharOffset
from holefill.context.types.oracle import Diagnostic, Location, Member, Parameter, Signature
from holefill.context.types.positions import LineIndex, path_of
from holefill.context.types.probes import Probe
from holefill.context.types.transport import Json

_FENCE = re.compile(r"^```\w*\n(.*?)\n?```", re.S)
_NAMED = re.compile(r"^(?:\([\w ]+\)|const|let|var|function)\s+[\w$.]+\??:\s*", re.S)
"""What TypeScript puts before a type: `(parameter) x: `, `const y: `."""
_PROMISED = re.compile(r"^(.*) \| PromiseLike<\1>$")
_UNKNOWN_PART = re.compile(r"\bUnknown\b|\b_HoleT\b|\b@Todo\b|\bDivergent\b")
_UNKNOWN_WHOLE = frozenset({"Any", "object", "Never", "any", "unknown", "never", "{}", "T", "NoReturn", "error", "..."})
_KINDS = {2: "method", 3: "function", 5: "field", 6: "variable", 7: "class", 9: "module", 10: "property", 20: "field"}
_ERROR = 1
_WORD = re.compile(r"[^\W\d]\w*")


def is_unknown(text: str) -> bool:
    """Nothing that may be told to anybody: the checker does not know, or anything would do."""
    return not text or text in _UNKNOWN_WHOLE or _UNKNOWN_PART.search(text) is not None or _is_variable(text)


def hover_text(reply: Json) -> str:
    """The type a hover tells, without its Markdown and without the name it belongs to; for ``is_unknown`` first."""
    contents = _get(reply, "contents")
    if isinstance(contents, list):
        contents = contents[0] if contents else None
    value = contents if isinstance(contents, str) else _get(contents, "value")
    if not isinstance(value, str):
        return ""
    fenced = _FENCE.match(value.strip())
    text = (fenced[1] if fenced else value).split("\n---", 1)[0].strip()
    return _NAMED.sub("", " ".join(text.split()))


def plain_type(text: str) -> str:
    """Without the `@scope` that ty appends to type variables, nor what TypeScript adds in async functions."""
    plain = re.sub(r"(?<=\w)@\w+", "", " ".join(text.split()))
    return _PROMISED.sub(r"\1", plain)


def members(reply: Json) -> tuple[Member, ...]:
    items = _get(reply, "items") if isinstance(reply, dict) else reply
    found: list[tuple[str, Member]] = []
    for item in items if isinstance(items, list) else ():
        name, detail = _get(item, "label"), _get(item, "detail")
        kind, sort = _get(item, "kind"), _get(item, "sortText")
        if isinstance(name, str) and not _get(item, "additionalTextEdits"):
            known = _KINDS.get(kind, "") if isinstance(kind, int) else ""
            told = detail if isinstance(detail, str) else ""
            found.append((sort if isinstance(sort, str) else name, Member(name.rstrip("?"), known, told)))
    return tuple(member for _, member in sorted(found, key=lambda pair: pair[0]))


def signatures(reply: Json) -> tuple[Signature, ...]:
    told = _get(reply, "signatures")
    active_signature = _get(reply, "activeSignature") or 0
    found = [
        _signature(one, _get(reply, "activeParameter") if index == active_signature else None)
        for index, one in enumerate(told if isinstance(told, list) else ())
    ]
    if isinstance(active_signature, int) and 0 < active_signature < len(found):
        found.insert(0, found.pop(active_signature))
    return tuple(one for one in found if one is not None)


def locations(reply: Json, uri: str, probe: Probe) -> tuple[Location, ...]:
    """Lines of the probed document are those of the original."""
    found = []
    for one in reply if isinstance(reply, list) else [reply]:
        target = _get(one, "uri") or _get(one, "targetUri")
        start = _get(_get(one, "range") or _get(one, "targetSelectionRange"), "start")
        line, character = _get(start, "line"), _get(start, "character")
        if isinstance(target, str) and isinstance(line, int) and isinstance(character, int):
            own = target == uri
            found.append(Location(path_of(target), probe.original_line(line) if own else line, character))
    return tuple(found)


def diagnostics(reply: Json, text: str) -> tuple[Diagnostic, ...]:
    """Errors only: warnings and hints of a checker are its own taste."""
    return tuple(found for _, found in _diagnostics(reply, text, errors=True))


def revealed(reply: Json, text: str, pattern: re.Pattern[str]) -> str:
    """The type in the first message that reveals one."""
    matches = (pattern.match(found.message) for _, found in _diagnostics(reply, text))
    return next((match[1] for match in matches if match is not None), "")


def new_only(filled: tuple[Diagnostic, ...], baseline: tuple[Diagnostic, ...], at: int) -> tuple[Diagnostic, ...]:
    """Those whose code and message the baseline does not have at all; nearest to the fill first.

    Healthy files show errors too (a global that only the bundler knows), so an error that the user's own code has is
    told of no fill. "Implicitly returns None" stands at the signature and is a fault of unfinished code.
    """
    known = {(one.code, one.message) for one in baseline}
    new = [one for one in filled if (one.code, one.message) not in known and "implicitly return" not in one.message]
    return tuple(sorted(new, key=lambda one: abs(one.start - at)))


def new_inside(
    filled: tuple[Diagnostic, ...], text: str, fill: tuple[int, int], name_start: int | None = None
) -> tuple[Diagnostic, ...] | None:
    """``new_only`` without a baseline: what stands inside of the fill alone is new, unless it also stands elsewhere.

    So is what names the word that the fill ends, of which ``name_start`` is where the typed part begins. None where
    something else stands on the fill's lines around it: that may have been there before.
    """
    line = text.rfind("\n", 0, fill[0]) + 1
    first = fill[0] if name_start is None else min(fill[0], name_start)
    word = _WORD.match(text, first)
    named = () if word is None or word.end() <= fill[0] else tuple(f"{one}{word[0]}{one}" for one in "`'")
    near = [one for one in filled if one.start < fill[1] and one.end > line]
    for one in near:
        told = one.start < fill[1] and one.end > fill[0] and any(quoted in one.message for quoted in named)
        if not told and (one.start < first or one.end > fill[1]):
            return None
    elsewhere = {(one.code, one.message) for one in filled if one not in near}
    return tuple(one for one in near if (one.code, one.message) not in elsewhere)


def _diagnostics(reply: Json, text: str, errors: bool = False) -> Iterator[tuple[int, Diagnostic]]:
    items = _get(reply, "items")
    lines = LineIndex(text)
    for item in items if isinstance(items, list) else ():
        if errors and _get(item, "severity") not in (_ERROR, None):
            continue
        spanned = _get(item, "range")
        start, end = lines.offset_of(_get(spanned, "start")), lines.offset_of(_get(spanned, "end"))
        message, code, severity = _get(item, "message"), _get(item, "code"), _get(item, "severity")
        if isinstance(message, str) and start is not None and end is not None:
            number = severity if isinstance(severity, int) else _ERROR
            yield number, Diagnostic("" if code is None else str(code), message, CharOffset(start), CharOffset(end))


def _signature(told: Json, active: Json) -> Signature | None:
    label = _get(told, "label")
    if not isinstance(label, str):
        return None
    given = _get(told, "parameters")
    parameters = tuple(
        Parameter(plain_type(text))
        for one in (given if isinstance(given, list) else ())
        if (text := _label(label, one))
    )
    own = _get(told, "activeParameter")
    number = own if own is not None else active
    index = number if isinstance(number, int) and 0 <= number < len(parameters) else None
    return Signature(plain_type(label), parameters, index, _returns(label))


def _label(signature: str, parameter: Json) -> str:
    label = _get(parameter, "label")
    if isinstance(label, str):
        return label
    if isinstance(label, list) and len(label) == 2:
        start, end = label
        if isinstance(start, int) and isinstance(end, int):
            return signature[start:end]
    return ""


def _returns(label: str) -> str:
    match = re.search(r"\)\s*(?:->|:)\s*([^()]*(?:\(.*\))?[^()]*)$", label)
    return plain_type(match[1]) if match else ""


def _is_variable(text: str) -> bool:
    return re.fullmatch(r"\w+@[\w.]+", text) is not None


def _get(value: Json, key: str) -> Json:
    return value.get(key) if isinstance(value, dict) else None
