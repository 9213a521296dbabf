"""The text around one hole, indexed across keystrokes: what is typed again is not read again."""

from __future__ import annotations

from collections.abc import Sequence

from holefill.model.spec.suffix_automaton import SuffixAutomaton

OVERLAP = 32
"""Tokens of unchanged text fed again before an edit, so that the cursor's match is as long as matters."""
MAX_TOKENS = 32_768
"""The automaton is dropped beyond this (about 16 MB)."""


class BufferIndex:
    """A suffix automaton over documents, and last the text before the hole, which grows as tokens are committed."""

    def __init__(self) -> None:
        self.automaton = SuffixAutomaton()
        self._documents: set[int] = set()
        self._before: list[int] = []

    def begin(self, before: Sequence[int], documents: Sequence[Sequence[int]]) -> list[Sequence[int]]:
        """``documents``: text likely to be quoted (old text, the suffix, context); ``before``: up to the hole.

        Returns the runs of tokens that were not known yet.
        """
        if self.automaton.tokens > MAX_TOKENS:
            self.automaton, self._documents, self._before = SuffixAutomaton(), set(), []
        new: list[Sequence[int]] = []
        for document in documents:
            key = hash(tuple(document))
            if key not in self._documents:
                self._documents.add(key)
                self.automaton.end_document()
                self.automaton.extend(document)
                new.append(document)
        shared = self.common_prefix(before)
        self.automaton.end_document()
        self.automaton.extend(before[max(0, shared - OVERLAP) :])
        self._before = list(before)
        return [*new, before[max(0, shared - 2) :]]

    def commit(self, tokens: Sequence[int]) -> None:
        self.automaton.extend(tokens)
        self._before.extend(tokens)

    def common_prefix(self, before: Sequence[int]) -> int:
        """Leading tokens shared with the last text before the hole."""
        for index, (ours, theirs) in enumerate(zip(self._before, before, strict=False)):
            if ours != theirs:
                return index
        return min(len(self._before), len(before))
