"""State → the tokens that may follow, as packed bits. Masks of states met before are looked up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holefill.model.constrain.grammar import Layout
from holefill.model.constrain.lexing import TAB, Automaton, Reading, State, indent
from holefill.model.constrain.tables import Condition, ModeTable
from holefill.model.constrain.vocabulary import Vocabulary, Words

KEPT = 1024
"""Masks of 19 KB each for a vocabulary of 150,000."""
_Key = tuple[int, tuple[int, ...], int, tuple[int, ...]]


class Masks:
    """Of one grammar and one vocabulary. Used by one thread at a time, as the engine's turns ensure."""

    def __init__(self, automaton: Automaton, vocabulary: Vocabulary, tables: Sequence[ModeTable]) -> None:
        self.automaton = automaton
        self.vocabulary = vocabulary
        self.stop_words = vocabulary.pack(vocabulary.stop_ids)
        self._tables = tables
        self._depth = [max((len(g.condition.popped) for g in table.groups), default=0) for table in tables]
        self._lined = [any(g.condition.layout for g in table.groups) or bool(table.exact) for table in tables]
        self._wide = [np.count_nonzero(table.accepted) > 1 for table in tables]
        self._kept: dict[_Key, Words] = {}

    def leaves_choice(self, state: State) -> bool:
        """True only where several tokens may follow, whatever stands on the stack; a look at no mask."""
        return any(self._wide[reading.mode] for reading in state)

    def dependent_share(self) -> float:
        """Of the vocabulary, what the mode alone does not settle; mean over the grammar's modes."""
        return float(np.mean([table.dependent for table in self._tables])) / len(self.vocabulary.tokens)

    def of(self, state: State) -> Words:
        """Tokens, stop tokens not among them, after which some reading is left. Not to be written to."""
        if len(state) == 1:
            return self._of(state[0])
        words = np.zeros(self.vocabulary.words, np.int32)
        for reading in state:
            words |= self._of(reading)
        return words

    def _of(self, reading: Reading) -> Words:
        key = self._key(reading)
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            found = self._kept[key] = self._make(reading, key[1])
        return found

    def _key(self, reading: Reading) -> _Key:
        symbols: list[int] = []
        node = reading.stack
        for _ in range(self._depth[reading.mode]):
            if node.below is None:
                break
            symbols.append(node.symbol)
            node = node.below
        lined = self._lined[reading.mode]
        return reading.mode, tuple(symbols), reading.column if lined else 0, reading.blocks if lined else ()

    def _make(self, reading: Reading, symbols: tuple[int, ...]) -> Words:
        table = self._tables[reading.mode]
        words = table.accepted.copy()
        for group in table.groups:
            if _holds(group.condition, reading, symbols):
                words[group.index] |= group.value
        fits = [id_ for id_ in table.exact if self.automaton.run((reading,), self.vocabulary.tokens[id_])]
        return words | self.vocabulary.pack(fits) if fits else words


def _holds(condition: Condition, reading: Reading, symbols: tuple[int, ...]) -> bool:
    popped = condition.popped
    if popped and symbols[: len(popped)] != popped:
        return False
    if condition.layout is Layout.NONE:
        return True
    column = reading.column
    for byte in condition.blank:
        column = (column // TAB + 1) * TAB if byte == 9 else 0 if byte == 12 else column + (byte == 32)
    return indent(condition.layout, column, reading.blocks) is not None
