"""Keystroke replay and the bench's arithmetic, on scripted engines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from holefill.evaluation import bench
from holefill.evaluation.bench import DECODE_AT, DECODE_TOKENS, PREFILL, ROWS, ROWS_AT, interleaved, measure_speed
from holefill.evaluation.bench_contestants import Contestant
from holefill.evaluation.cases import Case
from holefill.evaluation.latency import Key, latency_json, replay_keys
from holefill.evaluation.records import RunHeader, RunWriter
from holefill.model.errors import CheckpointError
from tests.evaluation.conftest import MakeSystem, ScriptedEngine


class Clocked:
    """A contestant whose forwards cost what a table says, on a clock of its own."""

    def __init__(self, clock: list[float], fixed_s: float, row_s: float) -> None:
        self.clock, self.fixed_s, self.row_s = clock, fixed_s, row_s
        self.length = 0

    def rewind(self, length: int) -> None:
        assert length <= self.length
        self.length = length

    def forward(self, ids: Sequence[int], *, all_logits: bool) -> None:
        self.length += len(ids)
        self.clock[0] += self.fixed_s + self.row_s * len(ids)


def test_step_times_are_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "process_time", lambda: 2 * clock[0])
    contestants = {"a": Clocked(clock, 0.01, 0.001), "b": Clocked(clock, 0.02, 0.0)}
    steps: list[int] = []
    result = measure_speed(contestants, list(range(ROWS_AT + max(ROWS))), 3, lambda: steps.append(1))
    assert len(steps) == 3 * 2 * (len(PREFILL) + 1 + len(ROWS))
    assert result["a"]["decode_tok_s"] == pytest.approx(1 / 0.011, rel=1e-3)
    assert result["a"]["prefill_128_tok_s"] == pytest.approx(128 / 0.138, rel=1e-3)
    assert result["a"]["prefill_128_tok_per_cpu_s"] == pytest.approx(64 / 0.138, rel=1e-3)
    assert result["a"]["t_n_ratio"] == pytest.approx({n: (0.01 + 0.001 * n) / 0.011 for n in ROWS}, abs=0.01)
    assert result["b"]["t_n_ratio"] == dict.fromkeys(ROWS, 1.0)
    assert contestants["a"].length == ROWS_AT + max(ROWS)
    assert DECODE_AT + DECODE_TOKENS <= ROWS_AT


def test_contestants_take_turns() -> None:
    order: list[str] = []
    names = {"a": Clocked([0.0], 1, 1), "b": Clocked([0.0], 1, 1)}

    def work(contestant: Contestant) -> bench.Seconds:
        order.append(next(name for name, known in names.items() if known is contestant))
        return bench.Seconds(1.0, 1.0)

    interleaved(names, 2, work, lambda: None)
    assert order == ["a", "b", "a", "b"]


def test_typing_what_was_suggested_asks_the_engine_once(system: MakeSystem) -> None:
    made = system(lambda _: "helper(1)\n")
    case = Case("c", "python", "a.py", "x = lib.", "helper(1)", "\n")
    keys = list(replay_keys(made, [case], 5))
    assert [key.reason for key in keys] == ["model", *["type_through"] * 5]
    assert isinstance(made.backend, ScriptedEngine)
    assert len(made.backend.asked) == 1


def test_latency_summary_leaves_the_cold_key_out() -> None:
    keys = [Key("c", 0, 5000.0, 400, "model")] + [Key("c", n, 100.0 * n, 2 * n, "model") for n in range(1, 11)]
    summary = latency_json(keys)
    assert (summary["keys"], summary["p50_ms"], summary["p95_ms"]) == (10, 500.0, 1000.0)
    assert (summary["in_window"], summary["prefilled_per_key"], summary["cold_p50_ms"]) == (70.0, 11.0, 5000.0)


def test_an_output_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    header = RunHeader("s", 1, "m", "off", 0, None, "d", "c")
    with pytest.raises(Exception, match="choose a folder by --output"):
        RunWriter(tmp_path / "file" / "run.jsonl", header, resume=False)


def test_bench_runs_the_weights_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def load(path: Path, weights: str, adapter: Path | None) -> None:
        asked.append(weights)
        raise CheckpointError("as far as this test goes")

    monkeypatch.setattr(bench, "Ours", load)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    for options in (["--weights", "w8a8"], []):
        result = CliRunner().invoke(bench.bench, ["--model", str(file), *options])
        assert "as far as this test goes" in result.output, result.output
    assert asked == ["w8a8", "packed"]
    assert CliRunner().invoke(bench.bench, ["--weights", "q3"]).exit_code == 2
    assert "name its folder" in CliRunner().invoke(bench.bench, ["--peer-drafts"]).output
    assert "name its folder" in CliRunner().invoke(bench.bench, ["--draft-model", "small"]).output
