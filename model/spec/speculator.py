"""What an engine holds: its drafters, what they learned, and the tree for the next forward."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from holefill.model.cancel import Interrupt
from holefill.model.repository import RepositoryReply, RepositoryUpdate
from holefill.model.request import GenerateRequest
from holefill.model.spec import build
from holefill.model.spec.buffer import BufferIndex
from holefill.model.spec.calibration import Calibration
from holefill.model.spec.cost import OUTLIER, CostCurve, LiveCost
from holefill.model.spec.drafters import DEFAULT, DRAFTERS
from holefill.model.spec.drafters.draft_model import DraftModelDrafter
from holefill.model.spec.drafters.drafter import DraftContext, Drafter, Scope, TopTokens
from holefill.model.spec.drafters.recycling import UNKNOWN
from holefill.model.spec.prompt import read_prompt
from holefill.model.spec.repository import RepositoryStore
from holefill.model.spec.top import Likeliest
from holefill.model.spec.tree import DraftTree, Forced
from holefill.model.spec.verify import Verdict

MAX_DEPTH = 10
CANDIDATES = (4, 16)
"""Nodes each drafter offers, at least and at most; between them twice as many as the last tree took."""
BUFFERS = 4
KEPT_TEXTS = 128
MEMORY = 0.95
"""Weight of the past in the running means."""


@dataclass(slots=True)
class Tally:
    """Counts since the start; the mean of tokens per round is the MAT."""

    rounds: int = 0
    tokens: int = 0
    drafted: int = 0
    accepted_by_source: dict[str, int] = field(default_factory=dict)
    """Accepted nodes per source; a node that two drafters proposed counts for both."""


class TreeSpeculator:
    """Implements ``model.parts.Speculator``. Used by one thread at a time, as the engine's turns ensure."""

    def __init__(
        self,
        vocabulary: int,
        *,
        cost: CostCurve,
        drafters: Iterable[str] = DEFAULT,
        encode: Callable[[str], list[int]] | None = None,
        fim_ids: tuple[int, int, int] | None = None,
        fixed_nodes: int | None = None,
        repositories: RepositoryStore | None = None,
        draft_model: DraftModelDrafter | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``fixed_nodes`` switches the cost rule off: the baseline it is measured against. ``clock``: seconds.

        ``draft_model`` is asked last, since every guess of it costs a forward.
        """
        unknown = sorted(set(drafters) - set(DRAFTERS))
        if unknown:
            raise ValueError(f"unknown drafters {unknown}: choose among {sorted(DRAFTERS)}")
        self._drafters: Mapping[str, Drafter] = {name: DRAFTERS[name](vocabulary) for name in drafters}
        self._draft_model = draft_model
        self._cost, self._clock = LiveCost(cost), clock
        self._encode = encode
        self._fim_ids = fim_ids
        self._fixed_nodes = fixed_nodes
        self.repositories = repositories or RepositoryStore(encode or (lambda text: []))
        self._spent_ms, self._got = cost(1), 1.0
        """Running means of a round's time and of its tokens; their ratio is what a token costs in the long run."""
        self._asked = self._proposed_at = 0.0
        self._first = True
        """The first round of a request: its forward takes the rest of the prompt along, so its time tells nothing."""
        self._buffers: list[BufferIndex] = []
        self._texts: dict[str, list[int]] = {}
        self._request: GenerateRequest | None = None
        self._known = 0
        self._context = DraftContext([], 0, BufferIndex())
        self._proposed: DraftTree | None = None
        self._taken = CANDIDATES[1]
        self.calibration = Calibration()
        self._fused = build.FusedNode(0, {}, [], self.calibration)
        self.tally = Tally()

    def propose(
        self,
        request: GenerateRequest,
        ids: Sequence[int],
        budget: int,
        forced: tuple[Forced, ...] = (),
        interrupt: Interrupt | None = None,
    ) -> DraftTree:
        """At most ``budget`` nodes below the root ``ids[-1]``. The ``interrupt`` ends a draft model's forwards."""
        self._asked = self._clock()
        self._first = request is not self._request or len(ids) != self._known
        if self._first:
            self._begin(request, ids)
        self._context.root, self._context.ids, self._context.forced = ids[-1], ids, forced
        self._context.interrupt = interrupt
        fixed = self._fixed_nodes is not None
        fewest, most = CANDIDATES
        offered = most if fixed else min(max(2 * self._taken, fewest), most)
        token_ms = math.inf if fixed else min(self._spent_ms / self._got, self._cost(1))
        self._fused = self._fuse(offered, min(MAX_DEPTH, budget), token_ms)
        if self._fixed_nodes is not None:
            self._proposed = build.select(self._fused, CostCurve.flat(), min(budget, self._fixed_nodes))
        else:
            self._proposed = build.select(self._fused, self._cost, budget, token_ms)
        self._taken = len(self._proposed)
        self._proposed_at = self._clock()
        return self._proposed

    def _fuse(self, offered: int, depth: int, token_ms: float) -> build.FusedNode:
        """What all drafters offer; the one whose guesses cost forwards is told what the others cover."""
        context = self._context
        trees = [DraftTree.root(context.root)]
        for drafter in self._drafters.values():
            trees += drafter.propose(context, offered, depth)
        fused = build.fuse(trees, self.calibration)
        if self._draft_model is None:
            return fused
        context.covered = sum(child.p for child in fused.following())
        context.token_ms, context.node_ms = token_ms, self._cost.cheapest(1)
        more = self._draft_model.propose(context, offered, depth)
        return build.fuse([*trees, *more], self.calibration) if more else fused

    def observe(self, tree: DraftTree, verdict: Verdict, top: Likeliest) -> None:
        """Learn from every node the target has judged; ``top`` is of its logits, unmasked.

        ``tree`` is what was proposed, without the nodes that a constraint forbids.
        """
        if self._proposed is None:  # the engine had no room for drafts
            return
        self._proposed = None
        if not self._first:
            self._cost.observe(len(tree), 1000 * (self._clock() - self._proposed_at))
        context = self._context
        # The root may be a marker (the hole's); what follows it follows the text before the hole.
        root = context.text[-1] if context.text else context.root
        before = context.text[-2] if len(context.text) > 1 else UNKNOWN
        judged = _top_tokens((root, *tree.token[1:]), _before(tree, root, before), top)
        self._count(tree, verdict)
        build.observe(self._fused, verdict.tokens, self.calibration)
        context.text += verdict.tokens
        context.buffer.commit(verdict.tokens)
        self._known += len(verdict.tokens)
        for drafter in self._drafters.values():
            drafter.observe(context, judged)
        if not self._first:
            self._weigh_round(len(tree), len(verdict.tokens))

    def learn(self, ids: Sequence[int], top: Likeliest) -> None:
        """What the target expects after each token of a prompt."""
        expected = _top_tokens(tuple(ids), (UNKNOWN, *ids[:-1]), top)
        for drafter in self._drafters.values():
            drafter.learn_top(expected)

    def follow(self, ids: Sequence[int], interrupt: Interrupt | None = None) -> None:
        """In idle time, after ``learn``: all that the target has read of a prompt."""
        if self._draft_model is not None:
            self._draft_model.follow(ids, interrupt)

    def index_repository(self, documents: Sequence[Sequence[int]], repository: str = "") -> None:
        """Token ids of the repository's files, for the automaton drafter. They shape drafts, never answers."""
        self.repositories.index(repository, documents)

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        """From any thread; the next request drafts from it."""
        return self.repositories.sync(update)

    def reset(self, scope: Scope) -> None:
        self.repositories.clear()
        for drafter in self._drafters.values():
            drafter.reset(scope)
        if self._draft_model is not None:
            self._draft_model.reset(scope)
        self._buffers.clear()
        self._texts.clear()
        self._request = None

    def _begin(self, request: GenerateRequest, ids: Sequence[int]) -> None:
        text = read_prompt(ids, self._fim_ids)
        documents = [*text.documents, *(self._tokens(quoted) for quoted in request.draft_texts)]
        buffer = self._buffer(text.before)
        for run in buffer.begin(text.before, documents):
            for drafter in self._drafters.values():
                drafter.learn_text(run)
        self._request, self._known = request, len(ids)
        self._context = DraftContext(text.before, ids[-1], buffer, self.repositories.arrays(request.repository))

    def _buffer(self, before: Sequence[int]) -> BufferIndex:
        """The index of the same document, most recently used last; the least recently used makes room."""
        best = max(self._buffers, key=lambda buffer: buffer.common_prefix(before), default=None)
        if best is None or 2 * best.common_prefix(before) < len(before):
            best = BufferIndex()
        else:
            self._buffers.remove(best)
        self._buffers = [*self._buffers[-(BUFFERS - 1) :], best]
        return best

    def _tokens(self, text: str) -> list[int]:
        if self._encode is None:
            return []
        if text not in self._texts:
            while len(self._texts) >= KEPT_TEXTS:
                del self._texts[next(iter(self._texts))]
            self._texts[text] = self._encode(text)
        return self._texts[text]

    def _count(self, tree: DraftTree, verdict: Verdict) -> None:
        tally = self.tally
        tally.rounds += 1
        tally.tokens += len(verdict.tokens)
        tally.drafted += len(tree) - 1
        node = self._fused
        for token in verdict.tokens[:-1]:
            node = node.children[token]
            for evidence in node.evidences:
                tally.accepted_by_source[evidence.source] = tally.accepted_by_source.get(evidence.source, 0) + 1

    def _weigh_round(self, rows: int, tokens: int) -> None:
        """Proposing and learning cost time as well as the forward; a round that waited for something else does not."""
        took = min(1000 * (self._clock() - self._asked), OUTLIER * self._cost(rows))
        self._spent_ms += (1 - MEMORY) * (took - self._spent_ms)
        self._got += (1 - MEMORY) * (tokens - self._got)


def _before(tree: DraftTree, root: int, before_root: int) -> tuple[int, ...]:
    """The token before each node, the root's being ``root``."""
    return (before_root, *(root if parent == 0 else tree.token[parent] for parent in tree.parent[1:]))


def _top_tokens(tokens: tuple[int, ...], before: tuple[int, ...], top: Likeliest) -> TopTokens:
    return TopTokens(tokens, before, top.ids, np.exp(top.log_probs))
