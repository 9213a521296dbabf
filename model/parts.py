"""What the engine needs of its parts: a model that computes, and somebody who guesses ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch

from holefill.model.cancel import Interrupt
from holefill.model.kv.prefix import Pool
from holefill.model.kv.rows import RowTable
from holefill.model.repository import RepositoryReply, RepositoryUpdate
from holefill.model.request import GenerateRequest
from holefill.model.spec.top import Likeliest
from holefill.model.spec.tree import DraftTree, Forced
from holefill.model.spec.verify import Verdict

C = TypeVar("C", bound=RowTable)


class Target(Protocol[C]):
    """What the engine needs of ``model.transformer.Transformer``."""

    @property
    def row_bytes(self) -> int:
        """Memory of one token's keys and values."""

    def new_pool(self, rows: int) -> Pool[C]:
        """Holds at most so many tokens."""

    def new_cache(self, capacity: int) -> C:
        """A sequence apart from that pool."""

    def forward(
        self,
        ids: torch.Tensor,
        cache: C,
        *,
        positions: torch.Tensor | None = None,
        tree_mask: torch.Tensor | None = None,
        logit_rows: torch.Tensor | None = None,
        interrupt: Interrupt | None = None,
    ) -> torch.Tensor:
        """Appends n rows to the cache; logits [len(logit_rows), vocab].

        Raises ``Interrupted``, and appends nothing, where it notices the ``interrupt``; a device's queue may not.
        """


class Speculator(Protocol):
    """Guesses what comes next; whatever it guesses, the answer is the same."""

    def propose(
        self,
        request: GenerateRequest,
        ids: Sequence[int],
        budget: int,
        forced: tuple[Forced, ...] = (),
        interrupt: Interrupt | None = None,
    ) -> DraftTree:
        """At most ``budget`` nodes below the root ``ids[-1]``; ``ids`` is the prompt and the answer so far.

        ``forced``: how the request's guide has it go on. May raise ``Interrupted`` where it notices the ``interrupt``.
        """

    def observe(self, tree: DraftTree, verdict: Verdict, top: Likeliest) -> None:
        """What came of the last proposal; ``top`` is what the model expected at each node."""

    def learn(self, ids: Sequence[int], top: Likeliest) -> None:
        """``top``: what the model expects after each of these prompt tokens."""

    def follow(self, ids: Sequence[int], interrupt: Interrupt | None = None) -> None:
        """In idle time, after ``learn``: all of a prompt that the model has read. May raise ``Interrupted``."""

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        """Text to draft from; called from any thread."""
