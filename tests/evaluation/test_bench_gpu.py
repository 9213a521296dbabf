"""The GPU's benchmark without a GPU: it says so, and its measuring runs on any device. Times are not asserted."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner

from holefill.evaluation.bench import bench
from holefill.evaluation.bench_gpu import (
    BATCH,
    NO_GPU,
    ROWS,
    chain_pairs,
    kv_bytes,
    measure_forwards,
    median_seconds,
    read_share,
)
from holefill.model.config import ModelConfig
from holefill.model.transformer import Transformer
from holefill.model.weights import Weights, slots

CONFIG = ModelConfig("llama", 31, 16, 1, 2, 1, 8, 16, 256, 1e-6, 10_000.0, qkv_bias=False, tied_head=False)


def test_without_a_gpu_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(bench, ["--gpu", "--model", "no-such-model"])
    assert result.exit_code == NO_GPU
    assert "run this on a machine with a GPU" in result.output


def test_every_figure_is_measured() -> None:
    weights = {slot.name: torch.ones(slot.shape) for slot in slots(CONFIG)}
    figures = measure_forwards(Transformer(Weights(CONFIG, weights)), repeats=1)
    assert isinstance(figures["t_n_ratio"], dict)
    assert tuple(figures["t_n_ratio"]) == ROWS
    assert figures["t_n_ratio"][1] == 1
    assert figures["context"] == CONFIG.max_context - BATCH  # a tiny model's context, instead of 1,024 rows
    assert {"tree_ratio", "shared_prefix"} <= figures.keys()


def test_bytes_of_a_token() -> None:
    model = Transformer(Weights(CONFIG, {slot.name: torch.ones(slot.shape) for slot in slots(CONFIG)}))
    assert kv_bytes(model, 10) == 2 * 10 * 8 * 4
    total = sum(torch.Size(slot.shape).numel() for slot in slots(CONFIG))
    assert read_share(CONFIG) == pytest.approx(1 - 31 * 16 / total)


def test_a_node_sees_its_path() -> None:
    assert chain_pairs(8)[7].nonzero()[:, 0].tolist() == [0, 1, 3, 7]


def test_two_runs_are_not_timed() -> None:
    runs: list[int] = []
    median_seconds(lambda: runs.append(1), repeats=3)
    assert len(runs) == 5
