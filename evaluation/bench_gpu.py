"""How near a model on a GPU runs to the memory's limit, and what trees and shared prefixes cost: ``bench --gpu``.

Every time is the median of ``repeats`` runs that end with the device idle. All forwards give logits at every new row.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import torch

from holefill.model.config import ModelConfig
from holefill.model.kv.cache import KVCache
from holefill.model.transformer import Transformer, WeightFormat
from holefill.model.weights import slots

ROWS = (1, 2, 4, 8, 16, 32, 64)
TREE_NODES = 32
CONTEXT = 1024
PREFIXES = (1024, 16_384)
BATCH = 64
NEW_TOKENS = 128
COPY_BYTES = 1 << 30
NO_GPU = 3
"""Exit status where there is no CUDA device."""


class NoGpuError(click.ClickException):
    exit_code = NO_GPU


def require_gpu() -> None:
    """Raises NoGpuError."""
    if not torch.cuda.is_available():
        raise NoGpuError(
            "no CUDA device: run this on a machine with a GPU and the CUDA build of torch "
            "(correctness needs none: `pytest tests/kernels/test_triton.py`)"
        )


def measure_gpu(path: Path, repeats: int) -> dict[str, object]:
    """All figures of one model. Raises ModelError."""
    copy = copy_bandwidth(repeats)
    result: dict[str, object] = {"copy_gb_s": round(copy / 1e9, 1), "versions": versions()}
    forms: tuple[WeightFormat, ...] = ("bf16",) if path.is_dir() else ("packed", "bf16")
    for form in forms:
        before = torch.cuda.memory_allocated()
        transformer = Transformer.load(path, device="cuda", weights=form)
        weights = torch.cuda.memory_allocated() - before
        figures = measure_forwards(transformer, repeats)
        read = weights * read_share(transformer.config) + kv_bytes(transformer, CONTEXT)
        seconds = float(str(figures["t_1_ms"])) / 1000
        figures |= {"kernels": str(transformer.kernels), "weights_mb": weights >> 20}
        figures["bandwidth_share"] = round(read / seconds / copy, 3)
        figures["tokens_s"] = round(decode_rate(transformer, repeats), 1)
        result[form] = figures
        del transformer
        torch.cuda.empty_cache()
    result["transformers_tokens_s"] = round(transformers_rate(path, repeats), 1)
    return result


def measure_forwards(transformer: Transformer, repeats: int) -> dict[str, object]:
    """t(n)/t(1) behind CONTEXT rows, a tree against one token, and BATCH sequences behind a short and a long prefix."""
    room = transformer.config.max_context - max(*ROWS, BATCH)
    context, prefixes = min(CONTEXT, room), [min(length, room) for length in PREFIXES]
    cache = transformer.new_cache(max(context, *prefixes) + max(*ROWS, BATCH))
    for buffer in (cache.keys, cache.values):
        buffer.normal_()
    times = {n: forward_seconds(transformer, cache, context, n, None, repeats) for n in ROWS}
    tree = forward_seconds(transformer, cache, context, TREE_NODES, chain_pairs(TREE_NODES), repeats)
    alone = torch.eye(BATCH, dtype=torch.bool)  # one new token of each of BATCH sequences: none sees another
    short, long = (forward_seconds(transformer, cache, prefix, BATCH, alone, repeats) for prefix in prefixes)
    return {
        "context": context,
        "t_1_ms": round(1000 * times[1], 4),
        "t_n_ratio": {n: round(seconds / times[1], 3) for n, seconds in times.items()},
        "tree_ratio": round(tree / times[1], 3),
        "shared_prefix": {"batch": BATCH, "rows": prefixes, "throughput_lost": round(1 - short / long, 3)},
    }


def chain_pairs(nodes: int) -> torch.Tensor:
    """Ancestors of a binary tree: the usual draft has a few branches and some depth."""
    sees = torch.eye(nodes, dtype=torch.bool)
    for node in range(1, nodes):
        sees[node] |= sees[(node - 1) // 2]
    return sees


def forward_seconds(
    transformer: Transformer, cache: KVCache, context: int, n: int, sees: torch.Tensor | None, repeats: int
) -> float:
    ids = torch.zeros(n, dtype=torch.long)
    positions = None if sees is None else context + sees.sum(1) - 1

    def forward() -> None:
        cache.length = context
        transformer.forward(ids, cache, positions=positions, tree_mask=sees, logit_rows=slice(None))

    return median_seconds(forward, repeats)


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Twice untimed: the first compiles kernels and records a graph, the second is the first replay."""
    times = []
    for run in range(repeats + 2):
        started = time.perf_counter()
        work()
        wait()
        if run >= 2:
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def copy_bandwidth(repeats: int) -> float:
    """Bytes read and written per second by a copy within the device."""
    source = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / median_seconds(lambda: target.copy_(source), repeats)


def read_share(config: ModelConfig) -> float:
    """Of all weights, those that a token reads: all but the embedding, unless it is the head too."""
    sizes = {slot.name: math.prod(slot.shape) for slot in slots(config)}
    return 1.0 if config.tied_head else 1 - sizes["embed"] / sum(sizes.values())


def kv_bytes(transformer: Transformer, rows: int) -> int:
    config = transformer.config
    return 2 * config.layers * config.kv_heads * config.head_dim * rows * transformer.dtype.itemsize


def decode_rate(transformer: Transformer, repeats: int) -> float:
    """Greedy tokens per second behind CONTEXT rows, without drafts."""
    cache = transformer.new_cache(CONTEXT + NEW_TOKENS + 1)
    prompt = torch.arange(CONTEXT) % 1000

    def generate() -> None:
        cache.length = CONTEXT
        token = prompt[-1:]
        for _ in range(NEW_TOKENS):
            token = transformer.forward(token, cache).argmax(-1)

    for start in range(0, CONTEXT, 128):
        transformer.forward(prompt[start : start + 128], cache)
    return NEW_TOKENS / median_seconds(generate, repeats)


def transformers_rate(path: Path, repeats: int) -> float:
    """The same of `transformers` with SDPA and its compiled static cache, on the same weights in bf16. The prompt is
    prefilled in every run; a run of one token is taken off."""
    from transformers import AutoModelForCausalLM

    where: dict[str, Any] = {} if path.is_dir() else {"gguf_file": path.name}
    model: Any = AutoModelForCausalLM.from_pretrained(
        path if path.is_dir() else path.parent, dtype=torch.bfloat16, attn_implementation="sdpa", **where
    )
    model = model.to("cuda")
    prompt = (torch.arange(CONTEXT, device="cuda") % 1000)[None]

    def generate(tokens: int) -> None:
        model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            cache_implementation="static",
        )

    whole = median_seconds(lambda: generate(NEW_TOKENS + 1), repeats)
    return NEW_TOKENS / (whole - median_seconds(lambda: generate(1), repeats))


def versions() -> dict[str, str]:
    found = {"cuda": str(torch.version.cuda)}
    for package in ("torch", "triton", "transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found
