"""A lexer with a bracket stack, as data: byte by byte, and nondeterministic where one byte cannot tell.

It accepts more than the language does, never less: where real code is ambiguous to a lexer (a slash in JavaScript, a
tick in Rust) every reading is followed, and a reading that turns out wrong dies of its own.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

FREE = "free"
ALL = bytes(range(256))
WORD = (string.ascii_letters + string.digits + "_").encode() + bytes(range(128, 256))
LETTERS = bytes(byte for byte in WORD if not chr(byte).isdigit() or byte >= 128)
DIGITS = string.digits.encode()
SPACE = b" \t\f\r\v"
PUNCTUATION = bytes(byte for byte in string.punctuation.encode() if byte != ord("_"))


class Layout(IntEnum):
    """What a byte does to the indentation; only languages with blocks by indentation use it."""

    NONE = 0
    COLUMN = 1
    """White space at a line's start."""
    NEWLINE = 2
    """A new logical line begins."""
    KNOWN = 3
    """The first byte of a line: it must stand at an open block's column."""
    DEEPER = 4
    """The first byte of a line after a block head: it opens a deeper block."""


@dataclass(frozen=True, slots=True)
class Option:
    """One reading of a byte: where it leads, what it takes from the stack (-1: nothing) and what it puts there."""

    to: int
    pop: int = -1
    push: int = -1
    layout: Layout = Layout.NONE


@dataclass(frozen=True, slots=True)
class Grammar:
    name: str
    modes: tuple[str, ...]
    symbols: tuple[str, ...]
    options: tuple[tuple[tuple[Option, ...], ...], ...]
    """[mode][byte] → readings; none: the byte is an error there."""
    start: int
    final: frozenset[int]
    """Modes a file may end in, with nothing left on the stack."""
    free: int
    """The mode that gives up: everything goes, the end too."""


class Builder:
    """Modes and symbols come into being when they are named."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._modes: dict[str, int] = {}
        self._symbols: dict[str, int] = {}
        self._rows: list[list[list[Option]]] = []
        self._final: set[int] = set()
        self._fallbacks: list[tuple[int, int]] = []
        self.mode(FREE, final=True)
        self.on(FREE, ALL, FREE)

    def mode(self, name: str, *, final: bool = False) -> str:
        if name not in self._modes:
            self._modes[name] = len(self._rows)
            self._rows.append([[] for _ in range(256)])
        if final:
            self._final.add(self._modes[name])
        return name

    def symbol(self, name: str) -> int:
        return self._symbols.setdefault(name, len(self._symbols))

    def on(
        self, mode: str, chars: bytes | str, to: str, pop: str = "", push: str = "", layout: Layout = Layout.NONE
    ) -> None:
        """One more reading of these bytes."""
        option = Option(self._at(to), self.symbol(pop) if pop else -1, self.symbol(push) if push else -1, layout)
        row = self._rows[self._at(mode)]
        for byte in chars.encode() if isinstance(chars, str) else chars:
            if option not in row[byte]:
                row[byte].append(option)

    def otherwise(self, mode: str, to: str, but: bytes | str = b"") -> None:
        """Every byte without a reading yet, except ``but``."""
        banned = but.encode() if isinstance(but, str) else but
        row = self._rows[self._at(mode)]
        self.on(mode, bytes(byte for byte in ALL if not row[byte] and byte not in banned), to)

    def like(self, mode: str, other: str) -> None:
        """Bytes without a reading in ``mode`` are read as ``other`` does; settled when the grammar is finished."""
        self._fallbacks.append((self._at(mode), self._at(other)))

    def also(self, mode: str, other: str, chars: bytes | str) -> None:
        """``other``'s readings of these bytes are possible too."""
        for byte in chars.encode() if isinstance(chars, str) else chars:
            mine = self._rows[self._at(mode)][byte]
            mine += [option for option in self._rows[self._at(other)][byte] if option not in mine]

    def keywords(self, words: Iterable[str], start: str, prefix: str, word: str, after: str, otherwise: str) -> None:
        """Letters in ``start`` begin a word: ``after`` follows one of ``words``, ``otherwise`` any other."""
        listed = list(words)
        heads = {entry[:length] for entry in listed for length in range(1, len(entry) + 1)}
        for head in sorted(heads, key=len):
            self.mode(prefix + head, final=True)
        for head in sorted(heads, key=len):
            self.on(start if len(head) == 1 else prefix + head[:-1], head[-1], prefix + head)
        for head in heads:
            self.otherwise_only(prefix + head, WORD, word)
            self.like(prefix + head, after if head in listed else otherwise)
        self.otherwise_only(start, LETTERS, word)
        self.on(word, WORD, word)
        self.like(word, otherwise)

    def otherwise_only(self, mode: str, chars: bytes, to: str) -> None:
        row = self._rows[self._at(mode)]
        self.on(mode, bytes(byte for byte in chars if not row[byte]), to)

    def finish(self, start: str) -> Grammar:
        for _ in range(4):  # a fallback may fall back itself
            for mine, other in self._fallbacks:
                for byte in range(256):
                    if not self._rows[mine][byte]:
                        self._rows[mine][byte] = list(self._rows[other][byte])
        return Grammar(
            self._name,
            tuple(self._modes),
            tuple(self._symbols),
            tuple(tuple(tuple(cell) for cell in row) for row in self._rows),
            self._modes[start],
            frozenset(self._final),
            self._modes[FREE],
        )

    def _at(self, mode: str) -> int:
        return self._modes[self.mode(mode)]
