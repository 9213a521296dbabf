"""Continuations of the longest suffix of the context that occurs in the repository or around the hole.

Subsumes prompt lookup and REST (PAPERS.md 2.12): the match has no fixed length, and continuations are weighted by how
often they follow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest

from holefill.model.spec.drafters.drafter import FLOOR, DraftContext, Scope, TopTokens
from holefill.model.spec.suffix_array import SuffixArray
from holefill.model.spec.suffix_automaton import SuffixAutomaton
from holefill.model.spec.tree import DraftTree, Successor, best_first

BUFFER = "automaton.buffer"
REPOSITORY = "automaton.repository"
WIDTH = 6
"""Continuations kept per match; the seventh is hardly ever the one."""
SHORTER = 2
"""Shorter suffixes also tried at every node, with what is left of the probability (PPM's escape)."""
OCCURRENCES = 64


class AutomatonDrafter:
    """A suffix automaton for text that grows (``context.buffer``), suffix arrays for the repository."""

    name = "automaton"

    def propose(self, context: DraftContext, budget: int, max_depth: int) -> list[DraftTree]:
        automaton = context.buffer.automaton
        trees = [
            best_first(
                context.root,
                (automaton.match_state, automaton.match_length),
                lambda state: _buffer_successors(automaton, *state),
                budget=budget,
                max_depth=max_depth,
                source=BUFFER,
                floor=FLOOR,
            )
        ]
        if context.repository:
            trees.append(
                best_first(
                    context.root,
                    _repository_matches(context.repository, context.text),
                    _repository_successors,
                    budget=budget,
                    max_depth=max_depth,
                    source=REPOSITORY,
                    floor=FLOOR,
                )
            )
        return trees

    def learn_text(self, tokens: Sequence[int]) -> None:
        """The buffer index belongs to the request; nothing to keep here."""

    def learn_top(self, top: TopTokens) -> None:
        """Learns from text only."""

    def observe(self, context: DraftContext, top: TopTokens) -> None:
        """The buffer index is extended by its owner, the request."""

    def reset(self, scope: Scope) -> None:
        """Holds nothing: its texts belong to the request and to the repository store."""


def _buffer_successors(automaton: SuffixAutomaton, state: int, length: int) -> list[Successor[tuple[int, int]]]:
    found: dict[int, Successor[tuple[int, int]]] = {}
    left = 1.0
    for _ in range(1 + SHORTER):
        if state <= 0:
            break
        # Of equally frequent ones the state made last, that is, the text read last, comes first.
        following = [(automaton.count[to], to, token) for token, to in automaton.next[state].items() if token >= 0]
        total = sum(count for count, _, _ in following) + 1
        for count, target, token in nlargest(WIDTH, following):
            if token not in found:
                found[token] = Successor(token, left * count / total, length, (target, length + 1))
        left /= total
        state = automaton.link[state]
        length = automaton.length[state]
    return sorted(found.values(), key=lambda successor: -successor.p)


Matches = tuple[tuple[SuffixArray, int, tuple[int, ...]], ...]
"""Text, match length and the positions after the match's occurrences; longest first, of equal ones the fresher text."""


def _repository_matches(repository: Sequence[SuffixArray], text: Sequence[int]) -> Matches:
    chosen: list[tuple[SuffixArray, int, tuple[int, ...]]] = []
    for part in repository:
        intervals = part.match(text)
        levels, wider_than = 0, 0
        for length in range(len(intervals), 0, -1):
            low, high = intervals[length - 1]
            if high - low > wider_than:  # a shorter match that occurs no more often says nothing new
                chosen.append((part, length, tuple(part.occurrences((low, high), OCCURRENCES))))
                wider_than = 2 * (high - low)
                levels += 1
            if levels > SHORTER:
                break
    return tuple(sorted(chosen, key=lambda match: -match[1]))


def _repository_successors(matches: Matches) -> list[Successor[Matches]]:
    found: dict[int, Successor[Matches]] = {}
    left = 1.0
    for part, length, positions in matches:
        following: dict[int, list[int]] = {}
        for position in positions:
            following.setdefault(part.token_at(position), []).append(position + 1)
        following.pop(-1, None)
        total = sum(len(after) for after in following.values()) + 1
        for token, after in nlargest(WIDTH, following.items(), key=lambda item: (len(item[1]), item[0])):
            if token not in found:
                state = ((part, length + 1, tuple(after)),)
                found[token] = Successor(token, left * len(after) / total, length, state)
        left /= total
    return sorted(found.values(), key=lambda successor: -successor.p)
