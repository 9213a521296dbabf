"""Verification under a guide: the guide's masks are the only thing that changes what the model says."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from holefill.model.constrain.vocabulary import unpack
from holefill.model.request import Sampling
from holefill.model.spec.top import Likeliest
from holefill.model.spec.tree import DraftTree, Forced
from holefill.model.spec.verify import Verdict, verify


class Guide(Protocol):
    """What may come next in one request; ``constrain.guide.Guide`` is one."""

    def prune(self, tree: DraftTree) -> DraftTree:
        """Without the nodes that may not stand where they do."""

    def first_forbidden(self, tokens: tuple[int, ...]) -> int | None: ...

    def forced(self, most: int) -> tuple[Forced, ...]:
        """What must come next, at most so many tokens, as far as there is no choice."""

    def words(self, tree: DraftTree) -> NDArray[np.int32]:
        """[len(tree), words]: packed bits of what may follow each node."""

    def commit(self, tokens: tuple[int, ...]) -> None: ...


def guided_verify(
    guide: Guide, tree: DraftTree, logits: torch.Tensor, sampling: Sampling, position: int, top: Likeliest | None = None
) -> Verdict:
    """``spec.verify.verify`` under the masks of every node, which are made only where they would change something.

    Greedy: as long as the model's own choices are allowed, masking the others away changes nothing.
    """
    if sampling.temperature <= 0:
        verdict = verify(tree, logits, sampling, position=position, top=top)
        if guide.first_forbidden(verdict.tokens) is None:
            guide.commit(verdict.tokens)
            return verdict
    mask = torch.from_numpy(unpack(guide.words(tree), logits.shape[1])).to(logits.device)
    verdict = verify(tree, logits, sampling, position=position, mask=mask, top=top)
    guide.commit(verdict.tokens)
    return verdict
