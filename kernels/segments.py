"""Which queries may read which rows of the key-value pool, and who sees whom: the varlen layout of attention.

A segment is a run of consecutive queries that share one run of keys. One forward of a batch is a few lists of them:
    a prefix shared by all    one segment, all queries, every key visible
    shared by groups          one segment a group: nested levels are just more sources
    private suffixes          one segment a sequence
    draft trees, prefill      one segment a sequence, its new rows as queries and as keys, by bits or causal
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate

import torch
from torch import Tensor

from holefill.kernels.jit import cdiv

WORD = 64


class Visible(IntEnum):
    ALL = 0
    CAUSAL = 1
    """The last query of a segment sees all its keys, the one before it all but the last, …"""
    BITS = 2
    """Bit j of a query's ancestor words: it sees key j of its segment."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Queries query_start[s] … query_start[s + 1] read keys key_start[s] … key_start[s + 1]; both int32 [s + 1].

    ``rows`` int32 [keys]: the pool row of each key; None: key j is row j. The two maxima size the launch without
    asking the device.
    """

    query_start: Tensor
    key_start: Tensor
    max_queries: int
    max_keys: int
    rows: Tensor | None = None

    @classmethod
    def of(
        cls,
        query_counts: Sequence[int],
        key_counts: Sequence[int],
        *,
        rows: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> Segments:
        """Raises ValueError where the counts do not pair up."""
        if len(query_counts) != len(key_counts) or not query_counts:
            raise ValueError("a segment needs a number of queries and a number of keys: pass two lists of one length")

        def starts(counts: Sequence[int]) -> Tensor:
            return torch.tensor([0, *accumulate(counts)], dtype=torch.int32, device=device)

        return cls(starts(query_counts), starts(key_counts), max(query_counts), max(key_counts), rows)

    @property
    def count(self) -> int:
        return self.query_start.shape[0] - 1


def ancestor_words(sees: Tensor) -> Tensor:
    """bool [n, keys] → int64 [n, ⌈keys / 64⌉], bit j % 64 of word j // 64; as ``Visible.BITS`` reads it."""
    n, keys = sees.shape
    padded = torch.zeros(n, cdiv(keys, WORD) * WORD, dtype=torch.int64, device=sees.device)
    padded[:, :keys] = sees
    shifted = padded.view(n, cdiv(keys, WORD), WORD) << torch.arange(WORD, device=sees.device)
    return shifted.sum(-1)
