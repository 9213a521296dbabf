"""Buckets and padding of recorded forwards, and that a padded, replayed forward equals the eager one.

The recorder here is the plainest there is: to replay a step is to take it again, on the same memory.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from holefill.model.config import ModelConfig
from holefill.model.graphs import LEAST_KEYS, ROWS, Forwards, Step, bucket_of, pad
from holefill.model.kv.cache import KVCache
from holefill.model.transformer import Transformer
from holefill.model.weights import Weights, slots

CONFIG = ModelConfig("qwen2", 31, 32, 1, 4, 2, 16, 48, 96, 1e-6, 10_000.0, qkv_bias=True, tied_head=True)
TOLERANCE = 1e-5
"""fp64 inside each op, fp32 between them; products of other shapes sum in another order."""


def model(device: str = "cpu") -> Transformer:
    generator = torch.Generator().manual_seed(3)
    weights = {slot.name: torch.randn(slot.shape, generator=generator).mul_(0.2).to(device) for slot in slots(CONFIG)}
    return Transformer(Weights(CONFIG, weights), device=device, kernels="triton" if device == "cuda" else "reference")


@given(n=st.integers(0, 80), length=st.integers(0, 9000), limit=st.integers(1, 9000), tree=st.booleans())
def test_a_bucket_is_the_least_that_holds(n: int, length: int, limit: int, tree: bool) -> None:
    bucket = bucket_of(n, length, limit, tree=tree)
    if bucket is None:
        assert n == 0 or n > ROWS[-1] or length + next(rows for rows in ROWS if rows >= n) > limit
        return
    assert bucket.rows in ROWS
    assert n <= bucket.rows < 2 * max(n, 1)
    assert length + bucket.rows <= bucket.keys
    assert bucket.keys == LEAST_KEYS or bucket.keys < 2 * (length + bucket.rows)
    assert length + bucket.rows <= limit
    assert bucket.tree == tree


@given(n=st.integers(1, 20), more=st.integers(0, 20), seed=st.integers(0, 99))
def test_padding_is_seen_by_no_row_before_it(n: int, more: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids, positions = torch.randint(9, (2, n), generator=generator)
    sees = torch.rand(n, n, generator=generator) < 0.5
    more_ids, more_positions, more_sees = pad(ids, positions, sees, n + more)
    assert more_sees is not None
    assert len(more_ids) == len(more_positions) == len(more_sees) == n + more
    assert torch.equal(more_ids[:n], ids)
    assert torch.equal(more_positions[:n], positions)
    assert torch.equal(more_sees[:n, :n], sees)
    assert not more_sees[:n, n:].any()
    assert torch.equal(more_sees[n:], torch.eye(n + more, dtype=torch.bool)[n:])
    assert pad(ids, positions, None, n + more)[2] is None


class Recorder:
    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, step: Step) -> Step:
        self.steps += 1
        return step


@pytest.fixture(scope="module")
def eager() -> Transformer:
    return model()


def replaying(eager: Transformer) -> tuple[Transformer, Recorder]:
    recorder, other = Recorder(), model()
    assert other._forwards is not None
    assert eager._forwards is not None
    other._forwards = Forwards(eager._forwards._decoder, torch.device("cpu"), recorder)
    return other, recorder


def chain(transformer: Transformer, cache: KVCache, count: int) -> Tensor:
    return transformer.forward(torch.arange(count) % 31, cache, logit_rows=slice(None))


@settings(max_examples=12, deadline=None)
@given(length=st.integers(0, 40), n=st.integers(1, 20), tree=st.booleans(), seed=st.integers(0, 9))
def test_a_replayed_forward_equals_the_eager_one(
    eager: Transformer, length: int, n: int, tree: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    replayed, recorder = replaying(eager)
    ids = torch.randint(31, (n,), generator=generator)
    sees = torch.eye(n, dtype=torch.bool)
    for node in range(1, n):
        sees[node] |= sees[int(torch.randint(node, (1,), generator=generator))]
    positions, tree_mask = (length + sees.sum(1) - 1, sees) if tree else (None, None)
    logits, keys = [], []
    for transformer in (eager, replayed):
        cache = transformer.new_cache(1)
        if length:
            chain(transformer, cache, length)
        found = transformer.forward(ids, cache, positions=positions, tree_mask=tree_mask, logit_rows=slice(None))
        logits.append(found)
        assert cache.length == length + n
        keys.append(cache.keys[:, :, cache.rows()])
    assert recorder.steps >= 1
    torch.testing.assert_close(logits[1], logits[0], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(keys[1], keys[0], atol=TOLERANCE, rtol=0)


def test_one_recording_serves_a_bucket_and_its_results_are_the_callers(eager: Transformer) -> None:
    replayed, recorder = replaying(eager)
    cache, plain = replayed.new_cache(64), eager.new_cache(64)
    kept = [
        (replayed.forward(torch.tensor(ids), cache), eager.forward(torch.tensor(ids), plain))
        for ids in ([1, 2, 3], [4, 5, 6, 7], [8, 9, 10])
    ]
    assert recorder.steps == 1
    for ours, expected in kept:
        torch.testing.assert_close(ours, expected, atol=TOLERANCE, rtol=0)


def test_one_recording_serves_all_sequences_of_a_pool_wherever_their_rows_lie(eager: Transformer) -> None:
    replayed, recorder = replaying(eager)
    pool, plain = replayed.new_pool(64), eager.new_cache(64)
    pool.give(pool.take(20)[::3])
    first, second = pool.sequence(), pool.sequence()
    for ids in (torch.arange(1, 6), torch.arange(6, 9)):
        expected = eager.forward(ids, plain)
        for cache in (first, second):
            torch.testing.assert_close(replayed.forward(ids, cache), expected, atol=TOLERANCE, rtol=0)
    sees = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 1]]).bool()  # a tree reads the cached rows in a part of their own
    positions, ids = torch.tensor([8, 9, 9]), torch.tensor([3, 4, 5])
    expected = eager.forward(ids, plain, positions=positions, tree_mask=sees, logit_rows=slice(None))
    for transformer, cache in ((replayed, first), (eager, second)):
        logits = transformer.forward(ids, cache, positions=positions, tree_mask=sees, logit_rows=slice(None))
        torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=0)
    assert recorder.steps == 3
    assert pool.capacity - pool.free == 20 - 7 + 22, "a padded forward takes no rows for its padding"


def test_a_pool_that_moved_is_recorded_anew(eager: Transformer) -> None:
    replayed, recorder = replaying(eager)
    cache = replayed.new_cache(4)
    chain(replayed, cache, 4)
    chain(replayed, cache, 4)  # grows: the first recording writes to memory that is no longer the cache's
    assert recorder.steps == 2
    assert torch.equal(cache.keys[:, :, :8].isfinite(), torch.ones(1, 2, 8, 16, dtype=torch.bool))


def test_at_the_contexts_end_and_without_logits_it_runs_eagerly(eager: Transformer) -> None:
    replayed, recorder = replaying(eager)
    cache = replayed.new_cache(96)
    replayed.forward(torch.arange(3), cache, logit_rows=torch.tensor([], dtype=torch.long))
    cache.length = 93
    chain(replayed, cache, 3)  # 3 rows fit, the bucket's 4 do not
    assert recorder.steps == 0
    assert cache.length == CONFIG.max_context


def test_a_wrong_ancestor_is_noticed(eager: Transformer) -> None:
    sees = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 1]]).bool()
    wrong = sees.clone()
    wrong[2, 1] = True
    positions, ids, logits = torch.tensor([4, 5, 5]), torch.tensor([3, 4, 5]), []
    for mask in (sees, wrong):
        cache = eager.new_cache(16)
        chain(eager, cache, 4)
        logits.append(eager.forward(ids, cache, positions=positions, tree_mask=mask, logit_rows=slice(None)))
    assert (logits[0][2] - logits[1][2]).abs().max() > 100 * TOLERANCE


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("n", [1, 3, 33])
def test_a_cuda_graph_equals_the_eager_forward(n: int) -> None:
    graphed = model("cuda")
    assert graphed._forwards is not None
    assert graphed._forwards._record is not None
    plain = model("cuda")
    assert plain._forwards is not None
    plain._forwards._record = None
    caches = graphed.new_cache(96), plain.new_cache(96)
    for _ in range(2):  # recorded, then replayed
        ids = torch.arange(n) % 31
        logits = [
            transformer.forward(ids, cache, logit_rows=slice(None))
            for transformer, cache in zip((graphed, plain), caches, strict=True)
        ]
        torch.testing.assert_close(logits[0], logits[1], atol=1e-3, rtol=0)
