"""Running a grammar over text: persistent states, and whether a suffix closes what a state has open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from holefill.model.constrain.grammar import Grammar, Layout, Option

MAX_READINGS = 12
TAB = 8


class Stack:
    """A persistent stack: a node is its top symbol on another stack. Equal stacks of one root are the same object."""

    __slots__ = ("_above", "below", "symbol")

    def __init__(self, symbol: int = -1, below: Stack | None = None) -> None:
        self.symbol = symbol
        self.below = below
        self._above: dict[int, Stack] = {}

    def push(self, symbol: int) -> Stack:
        found = self._above.get(symbol)
        if found is None:
            found = self._above[symbol] = Stack(symbol, self)
        return found

    def symbols(self) -> list[int]:
        """Top first."""
        found, node = [], self
        while node.below is not None:
            found.append(node.symbol)
            node = node.below
        return found


class Reading(NamedTuple):
    """One way to understand the text so far; ``column`` and ``blocks`` only where indentation counts."""

    mode: int
    stack: Stack
    column: int = 0
    blocks: tuple[int, ...] = (0,)


State = tuple[Reading, ...]
"""All readings; none: the text is wrong. Being immutable, a state is forked by keeping it."""


class Automaton:
    """A grammar made fast: bytes that change nothing are skipped by regular expressions."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.closers = closers(grammar)
        self._skips = [self._skip(mode) for mode in range(len(grammar.modes))]

    def begin(self) -> State:
        return (Reading(self.grammar.start, Stack()),)

    def anything(self) -> State:
        """Of a text that is not understood: nothing is forbidden in it."""
        return (Reading(self.grammar.free, Stack()),)

    def run(self, state: State, data: bytes, start: int = 0, end: int | None = None) -> State:
        """The state after ``data[start:end]``."""
        end = len(data) if end is None else end
        options = self.grammar.options
        while start < end and state:
            if len(state) == 1:
                skip = self._skips[state[0].mode]
                if skip is not None and (match := skip.match(data, start, end)) is not None:
                    start = match.end()
                    if start == end:
                        break
                mode, stack, column, blocks = state[0]
                readings = options[mode][data[start]]
                if len(readings) == 1 and not readings[0].layout and readings[0].pop < 0:
                    option = readings[0]
                    stack = stack if option.push < 0 else stack.push(option.push)
                    state = (Reading(option.to, stack, column, blocks),)
                    start += 1
                    continue
            state = self._step(state, data[start])
            start += 1
        return state

    def ends(self, state: State) -> bool:
        """Whether a file may end here."""
        grammar = self.grammar
        return any(
            reading.mode == grammar.free or (reading.mode in grammar.final and reading.stack.below is None)
            for reading in state
        )

    def _step(self, state: State, byte: int) -> State:
        found: dict[Reading, None] = {}
        for reading in state:
            for option in self.grammar.options[reading.mode][byte]:
                following = follow(reading, option, byte)
                if following is not None:
                    found[following] = None
        if len(found) > MAX_READINGS:  # too many to be told apart: nothing is forbidden any more
            return self.anything()
        return tuple(found)

    def _skip(self, mode: int) -> re.Pattern[bytes] | None:
        same = (Option(mode),)
        loops = bytes(byte for byte in range(256) if self.grammar.options[mode][byte] == same)
        return re.compile(b"[" + re.escape(loops) + b"]+") if loops else None


def follow(reading: Reading, option: Option, byte: int) -> Reading | None:
    """The reading after one byte understood as ``option``; None where the stack or the indentation forbids it."""
    _, stack, column, blocks = reading
    if option.pop >= 0:
        if stack.symbol != option.pop or stack.below is None:
            return None
        stack = stack.below
    if option.push >= 0:
        stack = stack.push(option.push)
    layout = option.layout
    if layout is Layout.NONE:
        return Reading(option.to, stack, column, blocks)
    if layout is Layout.COLUMN:
        column = (column // TAB + 1) * TAB if byte == 9 else 0 if byte == 12 else column + (byte == 32)
        return Reading(option.to, stack, column, blocks)
    if layout is Layout.NEWLINE:
        return Reading(option.to, stack, 0, blocks)
    settled = indent(layout, column, blocks)
    return None if settled is None else Reading(option.to, stack, 0, settled)


def indent(layout: Layout, column: int, blocks: tuple[int, ...]) -> tuple[int, ...] | None:
    """The open blocks after a line that begins at ``column``; None: no line may."""
    if layout is Layout.DEEPER:
        return (*blocks, column) if column > blocks[-1] else None
    return blocks[: blocks.index(column) + 1] if column in blocks else None


class Suffix:
    """The text after the hole. Once a state has been through, others that meet its path end where it ended."""

    def __init__(self, automaton: Automaton, text: bytes, own_line: bool = False) -> None:
        """``own_line``: the hole stands before the whole first line of ``text``, so a line break may go between."""
        self._automaton = automaton
        self.text = text
        self.own_line = own_line
        self._starts = [0, *(match.end() for match in re.finditer(rb"\n", text))]
        self._known: dict[tuple[int, State], bool] = {}

    def closes(self, state: State) -> bool:
        """Whether this text can follow ``state`` to the end of the file."""
        return self._closes(state) or (self.own_line and self._closes(self._automaton.run(state, b"\n")))

    def _closes(self, state: State) -> bool:
        seen: list[tuple[int, State]] = []
        verdict: bool | None = None
        for line, start in enumerate(self._starts):
            verdict = self._known.get((line, state))
            if verdict is not None or not state:
                break
            seen.append((line, state))
            end = self._starts[line + 1] if line + 1 < len(self._starts) else len(self.text)
            state = self._automaton.run(state, self.text, start, end)
        if verdict is None:
            verdict = self._automaton.ends(state)
        self._known.update(dict.fromkeys(seen, verdict))
        return verdict

    def fails_at(self, state: State) -> bytes:
        """The byte that cannot stand where it does after ``state``; empty when the file only ends too early."""
        for line, start in enumerate(self._starts):
            end = self._starts[line + 1] if line + 1 < len(self._starts) else len(self.text)
            following = self._automaton.run(state, self.text, start, end)
            if not following:
                break
            state = following
        else:
            return b""
        while following := self._automaton.run(state, self.text, start, start + 1):
            start, state = start + 1, following
        return self.text[start : start + 1]

    @property
    def known(self) -> int:
        """States remembered."""
        return len(self._known)


def closers(grammar: Grammar) -> Mapping[int, bytes]:
    """Symbol → the bytes that take it from the stack."""
    found: dict[int, set[int]] = {}
    for row in grammar.options:
        for byte, readings in enumerate(row):
            for option in readings:
                if option.pop >= 0 and option.push < 0:
                    found.setdefault(option.pop, set()).add(byte)
    return {symbol: bytes(sorted(entries)) for symbol, entries in found.items()}
