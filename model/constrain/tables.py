"""Per mode of a grammar: which tokens it accepts whatever is on the stack, and which under which condition (XGrammar).

Tokens that stay within a mode's reach are settled once for all, by running every token at once. Those that close what
an earlier token opened are grouped by what they take from the stack (and, at a line's start, by their white space),
so that a state's mask is its mode's mask and the groups that apply.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holefill.model.constrain.grammar import Grammar, Layout
from holefill.model.constrain.vocabulary import Vocabulary, Words

log = logging.getLogger(__name__)

FORMAT = 1
_ERROR, _SPECIAL = -1, -2


class Condition(NamedTuple):
    """Symbols taken from below the token's start, top first; and the check of the line the token starts in."""

    popped: tuple[int, ...] = ()
    layout: Layout = Layout.NONE
    blank: bytes = b""
    """The token's white space before the first byte that counts."""
    exact: bool = False
    """Checks a line that begins inside the token: only running it tells."""


@dataclass(frozen=True, slots=True)
class Group:
    condition: Condition
    index: NDArray[np.int32]
    """Words of the mask this group has bits in."""
    value: Words


@dataclass(frozen=True, slots=True)
class ModeTable:
    accepted: Words
    groups: tuple[Group, ...]
    exact: tuple[int, ...]

    @property
    def dependent(self) -> int:
        """Tokens of which only the stack or the layout tells whether they may follow."""
        words = np.zeros_like(self.accepted)
        for group in self.groups:
            words[group.index] |= group.value
        return int(np.bitwise_count(words).sum()) + len(self.exact)


class _Partial(NamedTuple):
    """A reading of the bytes of one token, relative to the unknown state before it."""

    mode: int
    pushed: tuple[int, ...]
    condition: Condition
    blank: bytes | None = b""
    """White space of the line the token starts in, as long as nothing else came; None: a later line."""


def build(grammar: Grammar, vocabulary: Vocabulary) -> tuple[ModeTable, ...]:
    simple = _simple(grammar)
    return tuple(_mode(grammar, vocabulary, simple, mode) for mode in range(len(grammar.modes)))


def _simple(grammar: Grammar) -> NDArray[np.int16]:
    """[modes, 256] → the next mode where that is all there is to a byte."""
    table = np.full((len(grammar.modes), 256), _SPECIAL, np.int16)
    for mode, row in enumerate(grammar.options):
        for byte, readings in enumerate(row):
            if not readings:
                table[mode, byte] = _ERROR
            elif len(readings) == 1:
                option = readings[0]
                if option.pop < 0 and option.push < 0 and option.layout is Layout.NONE:
                    table[mode, byte] = option.to
    return table


def _mode(grammar: Grammar, vocabulary: Vocabulary, simple: NDArray[np.int16], mode: int) -> ModeTable:
    reached = np.full(len(vocabulary.tokens), mode, np.int16)
    for ids, bytes_ in vocabulary.columns:
        now = reached[ids]
        reached[ids] = np.where(now >= 0, simple[now, bytes_], now)
    texts = vocabulary.columns[0][0]
    accepted = list(texts[reached[texts] >= 0].tolist())
    special = set(texts[reached[texts] == _SPECIAL].tolist())
    grouped: dict[Condition, list[int]] = {}
    exact: list[int] = []
    for token, conditions in _outcomes(grammar, vocabulary, mode, special):
        if Condition() in conditions:
            accepted.append(token)
        elif any(condition.exact for condition in conditions):
            exact.append(token)
        else:
            for condition in conditions:
                grouped.setdefault(condition, []).append(token)
    groups = tuple(_group(vocabulary, condition, ids) for condition, ids in grouped.items())
    return ModeTable(vocabulary.pack(accepted), groups, tuple(exact))


def _group(vocabulary: Vocabulary, condition: Condition, ids: list[int]) -> Group:
    words = vocabulary.pack(ids)
    index = np.flatnonzero(words).astype(np.int32)
    return Group(condition, index, words[index])


def _outcomes(
    grammar: Grammar, vocabulary: Vocabulary, mode: int, wanted: set[int]
) -> Iterator[tuple[int, set[Condition]]]:
    """Conditions under which each wanted token is fine. Tokens come sorted: a shared beginning is run once."""
    trail: list[set[_Partial]] = [{_Partial(mode, (), Condition())}]
    before = b""
    for id_ in vocabulary.order:
        if id_ not in wanted:
            continue
        token = vocabulary.tokens[id_]
        shared = _common(before, token)
        del trail[shared + 1 :]
        for byte in token[shared:]:
            trail.append({after for partial in trail[-1] for after in _follow(grammar, partial, byte)})
        before = token
        if trail[-1]:
            yield id_, {partial.condition for partial in trail[-1]}


def _common(left: bytes, right: bytes) -> int:
    return next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def _follow(grammar: Grammar, partial: _Partial, byte: int) -> Iterator[_Partial]:
    mode, pushed, condition, blank = partial
    for option in grammar.options[mode][byte]:
        stack, now, line = pushed, condition, blank
        if option.pop >= 0:
            if not stack:
                now = now._replace(popped=(*now.popped, option.pop))
            elif stack[-1] == option.pop:
                stack = stack[:-1]
            else:
                continue
        if option.push >= 0:
            stack = (*stack, option.push)
        if option.layout is Layout.COLUMN and line is not None:
            line += bytes((byte,))
        elif option.layout is Layout.NEWLINE:
            line = None
        elif option.layout in (Layout.KNOWN, Layout.DEEPER):
            now = now._replace(exact=True) if line is None else now._replace(layout=option.layout, blank=line)
        yield _Partial(option.to, stack, now, line)


def load_or_build(grammar: Grammar, version: int, vocabulary: Vocabulary, folder: Path | None) -> tuple[ModeTable, ...]:
    """From ``folder`` when it has them; made, and left there for the next time, when not."""
    path = None if folder is None else folder / f"{grammar.name}-{version}.{FORMAT}-{vocabulary.key[:16]}.npz"
    if path is not None and path.is_file():
        try:
            return _load(path, grammar)
        except (OSError, ValueError, KeyError) as error:
            log.warning("%s is damaged and made again (%s)", path, type(error).__name__)
    tables = build(grammar, vocabulary)
    if path is not None:
        _save(path, tables)
    return tables


def _save(path: Path, tables: tuple[ModeTable, ...]) -> None:
    groups = [(mode, group) for mode, table in enumerate(tables) for group in table.groups]
    about = [[mode, *group.condition[:2], group.condition.blank.decode("latin-1")] for mode, group in groups]
    empty = np.zeros(0, np.int32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            np.savez(
                file,
                accepted=np.stack([table.accepted for table in tables]),
                about=np.frombuffer(json.dumps([about, [table.exact for table in tables]]).encode(), np.uint8),
                ends=np.cumsum([len(group.index) for _, group in groups] or [0]),
                index=np.concatenate([group.index for _, group in groups] or [empty]),
                value=np.concatenate([group.value for _, group in groups] or [empty]),
            )
        Path(file.name).replace(path)
    except OSError as error:
        log.warning("constraint tables cannot be kept in %s (%s): they are made at every start", path.parent, error)


def _load(path: Path, grammar: Grammar) -> tuple[ModeTable, ...]:
    with np.load(path) as data:
        about, exact = json.loads(bytes(data["about"]))
        accepted, ends, index, value = (data[name] for name in ("accepted", "ends", "index", "value"))
    if len(accepted) != len(grammar.modes):
        raise ValueError("tables of another grammar")
    groups: list[list[Group]] = [[] for _ in accepted]
    start = 0
    for (mode, popped, layout, blank), end in zip(about, ends.tolist(), strict=False):
        condition = Condition(tuple(popped), Layout(layout), blank.encode("latin-1"))
        groups[mode].append(Group(condition, index[start:end], value[start:end]))
        start = end
    return tuple(
        ModeTable(row, tuple(found), tuple(ids)) for row, found, ids in zip(accepted, groups, exact, strict=True)
    )
