"""The seam every drafter implements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from holefill.model.cancel import Interrupt
from holefill.model.spec.buffer import BufferIndex
from holefill.model.spec.suffix_array import SuffixArray
from holefill.model.spec.tree import DraftTree, Forced

FLOOR = 0.02
"""Path products below this are not proposed: on a CPU a node pays from about 0.1."""


class Scope(StrEnum):
    """How much a drafter forgets."""

    REPOSITORY = "repository"
    """Text of the repository."""
    EVERYTHING = "everything"
    """What was learned from the model's own output too."""


@dataclass(slots=True)
class DraftContext:
    """One request's text as the drafters see it."""

    text: list[int]
    """Tokens before the hole, then those committed. With prefix–suffix–middle this is not the prompt's order."""
    root: int
    """The last token of the model's own sequence: what the tree hangs from."""
    buffer: BufferIndex
    repository: tuple[SuffixArray, ...] = ()
    """Text of the request's repository, recently changed files first."""
    ids: Sequence[int] = ()
    """The model's own sequence, in the order of the prompt and with its markers; the root is its last."""
    forced: tuple[Forced, ...] = ()
    """How the answer must go on, by the request's guide."""
    covered: float = 0.0
    """Probability that the target's next word is among what the drafters asked before have proposed."""
    token_ms: float = math.inf
    """What a token costs in the long run, hence what a right guess saves; infinite: cost is no matter."""
    node_ms: float = 0.0
    """What verifying one more guess costs."""
    interrupt: Interrupt | None = None
    """Ends what takes long: a drafter whose guesses cost forwards raises ``Interrupted``."""


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The target's likeliest successors of some tokens: ids [n, k], likeliest first (−1: none), and their p [n, k]."""

    tokens: tuple[int, ...]
    before: tuple[int, ...]
    """The token before each of ``tokens``; −1 where it is not known."""
    ids: npt.NDArray[np.int32]
    p: npt.NDArray[np.float32]


class Drafter(Protocol):
    """Guesses what the target will say next. Wrong guesses cost time, never correctness."""

    @property
    def name(self) -> str: ...

    def propose(self, context: DraftContext, budget: int, max_depth: int) -> list[DraftTree]:
        """Trees rooted at ``context.root``, of at most ``budget`` drafted nodes each, strongest evidence first."""
        ...

    def learn_text(self, tokens: Sequence[int]) -> None:
        """Text that is there already: a prompt's new part, a repository file."""
        ...

    def learn_top(self, top: TopTokens) -> None:
        """What the target expects after tokens of a prompt."""
        ...

    def observe(self, context: DraftContext, top: TopTokens) -> None:
        """After a verification; ``context.text`` ends with what it committed. ``top`` is in tree order."""
        ...

    def reset(self, scope: Scope) -> None: ...
