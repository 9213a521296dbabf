"""Our forward against transformers' on random weights: full, chunked, as a tree, and rows independent of each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, Qwen2Config
from transformers.modeling_rope_utils import RopeParameters

from holefill.model.errors import EngineError
from holefill.model.kv.cache import KVCache
from holefill.model.transformer import Transformer
from tests.model.conftest import Sizes, random_network

TOLERANCE = 1e-4  # fp32, two layers
SIZES: Sizes = {
    "vocab_size": 131,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,  # logits of order 1: a wrong term is not lost in the tolerance
}
LLAMA3: RopeParameters = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CONFIGS = {
    "qwen2 grouped, tied": Qwen2Config(**SIZES, num_key_value_heads=2, tie_word_embeddings=True),
    "qwen2 untied": Qwen2Config(**SIZES, num_key_value_heads=3, tie_word_embeddings=False),
    "llama grouped": LlamaConfig(**SIZES, num_key_value_heads=2, tie_word_embeddings=False),
    "llama one KV head per head": LlamaConfig(**SIZES, num_key_value_heads=6, tie_word_embeddings=True),
    "llama3 scaling": LlamaConfig(**SIZES, num_key_value_heads=2, rope_parameters=LLAMA3),
}
IDS = torch.randint(0, 131, (40,), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=list(CONFIGS), scope="module")
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Transformer, torch.nn.Module]:
    """Our model and theirs, from the same folder. Norms and biases are random too: at 1 and 0 they prove nothing."""
    torch.manual_seed(0)
    theirs = random_network(CONFIGS[request.param])
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.normal_(1.0 if "norm" in name else 0.0, 0.3)
    folder = tmp_path_factory.mktemp("model")
    theirs.save_pretrained(folder)
    return Transformer.load(folder, device="cpu", weights="fp32"), theirs


def oracle(theirs: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = theirs(ids[None]).logits[0]
    return logits


def test_full_forward(pair: tuple[Transformer, torch.nn.Module]) -> None:
    ours, theirs = pair
    logits = ours.forward(IDS, ours.new_cache(64), logit_rows=slice(None))
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, oracle(theirs, IDS), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("chunk", [1, 3, 17])
def test_chunks_give_the_same_rows(pair: tuple[Transformer, torch.nn.Module], chunk: int) -> None:
    ours, theirs = pair
    cache = ours.new_cache(2)  # grows on the way
    rows = [ours.forward(part, cache, logit_rows=slice(None)) for part in torch.split(IDS, chunk)]
    torch.testing.assert_close(torch.cat(rows), oracle(theirs, IDS), atol=TOLERANCE, rtol=0)


def test_a_tree_equals_each_of_its_paths(pair: tuple[Transformer, torch.nn.Module]) -> None:
    ours, theirs = pair
    prompt, tokens, parents = IDS[:20], IDS[20:27], [-1, 0, 0, 1, 2, 4, 1]
    paths = []
    for node in range(len(parents)):
        path = [node]
        while parents[path[0]] >= 0:
            path.insert(0, parents[path[0]])
        paths.append(path)
    mask = torch.zeros(7, 7, dtype=torch.bool)
    for node, path in enumerate(paths):
        mask[node, path] = True
    positions = torch.tensor([19 + len(path) for path in paths])
    cache = ours.new_cache(64)
    ours.forward(prompt, cache)
    logits = ours.forward(tokens, cache, positions=positions, tree_mask=mask, logit_rows=torch.arange(7))
    for node, path in enumerate(paths):
        alone = oracle(theirs, torch.cat((prompt, tokens[path])))[-1]
        torch.testing.assert_close(logits[node], alone, atol=TOLERANCE, rtol=0)
    cache.keep([*range(20), *(20 + node for node in paths[5])])
    after = ours.forward(IDS[30:31], cache)[0]
    expected = oracle(theirs, torch.cat((prompt, tokens[paths[5]], IDS[30:31])))[-1]
    torch.testing.assert_close(after, expected, atol=TOLERANCE, rtol=0)


def test_logit_rows(pair: tuple[Transformer, torch.nn.Module]) -> None:
    ours, _ = pair
    every = ours.forward(IDS, ours.new_cache(64), logit_rows=slice(None))
    torch.testing.assert_close(ours.forward(IDS, ours.new_cache(64)), every[-1:])
    some = torch.tensor([3, 11])
    torch.testing.assert_close(ours.forward(IDS, ours.new_cache(64), logit_rows=some), every[some])
    cache = ours.new_cache(64)
    assert ours.forward(IDS, cache, logit_rows=torch.tensor([], dtype=torch.long)).shape == (0, 131)
    assert cache.length == len(IDS)


def test_truncate_forgets(pair: tuple[Transformer, torch.nn.Module]) -> None:
    ours, _ = pair
    cache = ours.new_cache(64)
    ours.forward(IDS, cache)
    cache.truncate(10)
    again = ours.forward(IDS[10:], cache, logit_rows=slice(None))
    torch.testing.assert_close(again, ours.forward(IDS, ours.new_cache(64), logit_rows=slice(10, None)))


def test_past_the_context(pair: tuple[Transformer, torch.nn.Module]) -> None:
    ours, _ = pair
    cache = ours.new_cache(64)
    with pytest.raises(EngineError, match="shorten the prompt"):
        ours.forward(torch.zeros(257, dtype=torch.long), cache)
    assert cache.length == 0


def test_keep_refuses_nonsense(pair: tuple[Transformer, torch.nn.Module]) -> None:
    ours, _ = pair
    cache: KVCache = ours.new_cache(8)
    ours.forward(IDS[:8], cache)
    for rows in ([0, 1, 3, 2], [0, 2, 8], [0, 0, 1], list(range(9))):
        with pytest.raises(ValueError, match="keep"):
            cache.keep(rows)
    with pytest.raises(ValueError, match="truncate"):
        cache.truncate(9)
    cache.keep(list(range(8)))
    assert cache.length == 8


def test_a_kept_path_moves_no_row(pair: tuple[Transformer, torch.nn.Module]) -> None:
    ours, _ = pair
    cache = ours.new_cache(4)
    ours.forward(IDS[:8], cache)
    before = cache.keys.clone()
    cache.keep([*range(5), 7])
    assert cache.rows().tolist() == [0, 1, 2, 3, 4, 7]
    assert cache.rows(2)[6:].tolist() == [5, 6], "the rows of dropped tokens are the next to be written"
    assert torch.equal(cache.keys, before)


def test_where_rows_lie_changes_no_bit(pair: tuple[Transformer, torch.nn.Module]) -> None:
    """In a fresh pool, behind each other; and in one with holes, taken in two sizes."""
    ours, _ = pair
    fresh, pool = ours.new_cache(64), ours.new_pool(100)
    pool.keys.fill_(torch.nan)  # a row that is not the sequence's would be seen
    pool.values.fill_(torch.nan)
    holes = pool.take(100)
    pool.give(holes[np.random.default_rng(2).permutation(100)[:60]])
    scattered = pool.sequence()
    for part in torch.split(IDS, 13):
        expected = ours.forward(part, fresh, logit_rows=slice(None))
        assert torch.equal(ours.forward(part, scattered, logit_rows=slice(None)), expected)
    assert (np.diff(scattered.rows()) != 1).sum() > 10
