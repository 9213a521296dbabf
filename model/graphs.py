"""CUDA graphs of whole forwards, one a bucket (new rows × reachable keys × chain or tree), beside the eager path.

A small model's forward is some 250 short launches, a graph is one. What it reads is fixed when it is recorded, so a
forward is padded to its bucket: with rows that no other row sees, and launches that reach more keys than there are.
The padded forward is an ordinary forward of more rows, and equals the eager one row by row. Which rows of the pool it
reads and writes is data: a recording serves every sequence of its pool.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.model.fused import FusedDecoder, Inputs
from holefill.model.kv.cache import KVCache

log = logging.getLogger(__name__)

ROWS = (1, 2, 4, 8, 16, 32, 64)
LEAST_KEYS = 512
GRAPHS = 64
"""Kept at once: a graph belongs to one pool's memory, which moves when the pool grows."""

Step = Callable[[], Tensor]
Record = Callable[[Step], Step]
"""Runs a step once and returns what runs it again on the same memory."""


@dataclass(frozen=True, slots=True)
class Bucket:
    rows: int
    keys: int
    tree: bool


def bucket_of(n: int, length: int, max_context: int, *, tree: bool) -> Bucket | None:
    """The least one that holds n new rows behind ``length``; None in a prefill and at the context's end."""
    rows = next((rows for rows in ROWS if rows >= n), None)
    if n == 0 or rows is None or length + rows > max_context:
        return None
    return Bucket(rows, max(LEAST_KEYS, 1 << (length + rows - 1).bit_length()), tree)


def pad(ids: Tensor, positions: Tensor, sees: Tensor | None, rows: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """To ``rows`` rows; an added one sees the cached rows and itself, and no row before it sees it."""
    more = rows - len(ids)
    if more == 0:
        return ids, positions, sees
    if sees is not None:
        sees = F.pad(sees, (0, more, 0, more))
        sees.diagonal()[len(ids) :].fill_(True)
    return F.pad(ids, (0, more)), F.pad(positions, (0, more)), sees


@dataclass(frozen=True, slots=True)
class _Recorded:
    packed: Tensor
    replay: Step


class Forwards:
    """Runs a decoder: by graph where ``record`` is given and a bucket fits, else launch by launch."""

    def __init__(self, decoder: FusedDecoder, device: torch.device, record: Record | None) -> None:
        self._decoder, self._device, self._record = decoder, device, record
        self._graphs: OrderedDict[tuple[Bucket, int, int, int], _Recorded] = OrderedDict()

    def __call__(
        self, ids: Tensor, cache: KVCache, positions: Tensor, sees: Tensor | None, logit_rows: slice | Tensor
    ) -> Tensor:
        """Logits of ``logit_rows``; n rows of ``cache`` are reserved, and its length is the caller's to move."""
        ids, positions = ids.cpu(), positions.cpu()
        sees = None if sees is None else sees.cpu()
        bucket = None
        if self._record is not None and not (isinstance(logit_rows, Tensor) and len(logit_rows) == 0):
            bucket = bucket_of(len(ids), cache.length, cache.max_context, tree=sees is not None)
        if bucket is None:
            return self.eager(Inputs.of(ids, positions, sees, cache.table(len(ids))), cache, logit_rows)
        return self._by_graph(bucket, ids, cache, positions, sees)[: len(ids)][logit_rows].clone()

    def eager(self, inputs: Inputs, cache: KVCache, logit_rows: slice | Tensor) -> Tensor:
        return self._decoder(inputs, inputs.packed.to(self._device), cache.keys, cache.values, logit_rows)

    def _by_graph(self, bucket: Bucket, ids: Tensor, cache: KVCache, positions: Tensor, sees: Tensor | None) -> Tensor:
        """Logits of all rows of the bucket, in memory that the next replay writes again."""
        table = F.pad(cache.table(len(ids)), (0, bucket.rows - len(ids)), value=cache.pool.capacity)  # its padding row
        inputs = Inputs.of(*pad(ids, positions, sees, bucket.rows), table, bucket.keys)
        key = (bucket, cache.keys.data_ptr(), cache.values.data_ptr(), cache.pool.capacity)
        recorded = self._graphs.get(key)
        if recorded is None:
            recorded = self._graphs[key] = self._recorded(inputs, cache)
            while len(self._graphs) > GRAPHS:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        recorded.packed.copy_(inputs.packed)
        return recorded.replay()

    def _recorded(self, inputs: Inputs, cache: KVCache) -> _Recorded:
        assert self._record is not None
        packed = inputs.packed.to(self._device, copy=True)
        decoder, keys, values = self._decoder, cache.keys, cache.values
        return _Recorded(packed, self._record(lambda: decoder(inputs, packed, keys, values, slice(None))))


class CudaRecorder:
    """``Record`` on a GPU. All graphs share one memory pool: they never run together, and results are copied out."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()

    def __call__(self, step: Step) -> Step:
        with torch.cuda.device(self._device):
            beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                step()  # compiles the kernels and allocates the libraries' workspaces, neither of which can be recorded
            torch.cuda.current_stream().wait_stream(beside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                logits = step()
        log.debug("recorded a graph of %d rows", len(logits))

        def replay() -> Tensor:
            graph.replay()
            return logits

        return replay
