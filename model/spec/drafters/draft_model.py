"""A small model of the same vocabulary drafts for a large one, as long as SpecDec++'s rule says that it pays.

Its every guess costs a forward of its own, so it is asked last, when the others have said how much they cover, and goes
on only while what the next guess is worth exceeds what a step costs. It never changes an answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from holefill.model.cancel import Interrupt
from holefill.model.spec.acceptance import AcceptanceHead, Floats, features
from holefill.model.spec.drafters.drafter import DraftContext, Scope, TopTokens
from holefill.model.spec.top import likeliest
from holefill.model.spec.tree import DraftTree, TreeBuilder

SIBLINGS = 2
"""Runners-up beside each guess; what the tree has no room for is dropped where it is selected."""
SIBLING_FLOOR = 0.05
READ = 16
"""Match length of its evidence: it has read everything."""
CHUNK = 32
STEP_ROWS = 4
"""A step of more rows tells nothing about what a guess costs."""
MEMORY, REVIVAL = 0.95, 0.01
"""Weights: of the past in running means, and of hope in each round without a guess."""


class DraftCache(Protocol):
    @property
    def length(self) -> int: ...

    def truncate(self, length: int) -> None: ...


class DraftForward(Protocol):
    """What this module needs of ``model.transformer.Transformer``."""

    def new_cache(self, capacity: int) -> Any:
        """A ``DraftCache``, for ``forward``."""

    def forward(
        self, ids: torch.Tensor, cache: Any, *, logit_rows: torch.Tensor, interrupt: Interrupt | None = None
    ) -> torch.Tensor:
        """Raises ``Interrupted``, and appends nothing, where it notices the ``interrupt``: at the latest before it
        begins."""


class DraftModelDrafter:
    """Keeps the rows of one sequence, across rounds and requests as far as their beginnings agree.

    An interrupt ends it between two forwards, or in one; what it has read by then it need not read again.
    """

    name = "draft_model"

    def __init__(
        self,
        model: DraftForward,
        *,
        step_ms: float,
        max_context: int,
        vocabulary: int,
        head: AcceptanceHead | None = None,
        stop_ids: frozenset[int] = frozenset(),
        catch_up: int = 2 * CHUNK,
        threshold: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``step_ms``: its forward of one token. ``vocabulary``: ids that both models have.

        ``head``: None takes its own probabilities for those of acceptance. ``catch_up``: tokens of a prompt it reads in
        one round; it says nothing until it has read all. ``threshold``: of the paper, in place of the cost rule (a
        baseline): a chain ends when P(a guess was wrong) exceeds it.
        """
        self._model, self._head = model, head
        self._cache: DraftCache = model.new_cache(8 * CHUNK)
        self._ids: list[int] = []
        self._step_ms, self._max_context, self._vocabulary = step_ms, max_context, vocabulary
        self._stop_ids, self._catch_up, self._threshold, self._clock = stop_ids, catch_up, threshold, clock
        self._first = 1.0
        """Running mean of the probability of a round's first guess."""

    def propose(self, context: DraftContext, budget: int, max_depth: int) -> list[DraftTree]:
        if len(context.ids) + max_depth > self._max_context:
            return []
        if self._threshold is None and not self._pays(context, self._first * (1.0 - context.covered)):
            self._first += REVIVAL * (1.0 - self._first)
            return []
        if not self._read(context.ids, self._catch_up, context.interrupt):
            return []
        return [self._chain(context, budget, max_depth)]

    def follow(self, ids: Sequence[int], interrupt: Interrupt | None = None) -> None:
        """In idle time: the target has read these."""
        if len(ids) <= self._max_context:
            self._read(ids, self._catch_up, interrupt)

    def learn_text(self, tokens: Sequence[int]) -> None:
        """It was trained before."""

    def learn_top(self, top: TopTokens) -> None:
        """It was trained before."""

    def observe(self, context: DraftContext, top: TopTokens) -> None:
        """The rows of guesses that were wrong are dropped when it reads on."""

    def reset(self, scope: Scope) -> None:
        if scope is Scope.EVERYTHING:
            self._cache.truncate(0)
            self._ids.clear()

    def _pays(self, context: DraftContext, value: float) -> bool:
        """Whether a guess that is right with that probability saves more than making and verifying it costs."""
        return value * context.token_ms > self._step_ms + context.node_ms

    def _chain(self, context: DraftContext, budget: int, max_depth: int) -> DraftTree:
        builder = TreeBuilder(context.root)
        parent, value, before, path = 0, 1.0, 0.0, 0.0
        pending = list(context.ids[len(self._ids) :])
        for depth in range(1, max_depth + 1):
            ids, log_probs = self._step(pending, context.interrupt)
            p = self._probability(log_probs, depth, before, path)
            if depth == 1:
                self._first += (1 - MEMORY) * (p - self._first)
            node = builder.add(parent, ids[0], p, self.name, READ)
            self._add_siblings(builder, parent, value, p, ids, log_probs)
            parent, value, pending = node, value * p, [ids[0]]
            before, path = float(log_probs[0]), path + float(log_probs[0])
            if ids[0] in self._stop_ids or len(builder) > budget or not self._goes_on(context, value, p):
                break
        return builder.tree()

    def _goes_on(self, context: DraftContext, value: float, p: float) -> bool:
        """The next guess is taken to be as sure as this one was: how sure it is costs a step to know."""
        if self._threshold is not None:
            return 1.0 - value <= self._threshold
        return self._pays(context, value * p)

    def _probability(self, log_probs: Floats, depth: int, before: float, path: float) -> float:
        if self._head is None:
            return math.exp(float(log_probs[0]))
        return float(self._head.probability(features(log_probs[None], [depth], [before], [path]))[0])

    def _add_siblings(
        self, builder: TreeBuilder, parent: int, value: float, p: float, ids: Sequence[int], log_probs: Floats
    ) -> None:
        """They share what the first guess leaves, as the draft model would share it out."""
        others = np.exp(log_probs[1:])
        left = (1.0 - p) / max(1.0 - math.exp(float(log_probs[0])), 1e-6)
        for token, share in zip(ids[1 : 1 + SIBLINGS], others.tolist(), strict=False):
            if token >= 0 and value * left * share >= SIBLING_FLOOR:
                builder.add(parent, token, left * share, self.name, READ)

    def _step(self, pending: Sequence[int], interrupt: Interrupt | None) -> tuple[list[int], Floats]:
        """Reads ``pending``; the likeliest next tokens and their log-probabilities."""
        start = self._clock()
        last = torch.tensor([len(pending) - 1])
        logits = self._model.forward(torch.tensor(pending), self._cache, logit_rows=last, interrupt=interrupt)
        top = likeliest(logits[:, : self._vocabulary])
        self._ids += pending
        if len(pending) <= STEP_ROWS:
            self._step_ms += (1 - MEMORY) * (1000 * (self._clock() - start) - self._step_ms)
        return top.ids[0].tolist(), top.log_probs[0]

    def _read(self, ids: Sequence[int], most: int, interrupt: Interrupt | None) -> bool:
        """Rows for ``ids`` but the last few, which the next step takes along; False while there is more to read."""
        shared = next((at for at, (a, b) in enumerate(zip(self._ids, ids, strict=False)) if a != b), None)
        kept = min(len(self._ids), len(ids) - 1) if shared is None else min(shared, len(ids) - 1)
        self._cache.truncate(kept)
        del self._ids[kept:]
        while len(ids) - len(self._ids) > CHUNK and most > 0:
            chunk = list(ids[len(self._ids) : len(self._ids) + CHUNK])
            none = torch.tensor([], dtype=torch.long)
            self._model.forward(torch.tensor(chunk), self._cache, logit_rows=none, interrupt=interrupt)
            self._ids += chunk
            most -= len(chunk)
        return len(ids) - len(self._ids) <= CHUNK
