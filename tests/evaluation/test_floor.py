"""Fixed slices of the real benchmarks on the real model: quality must not fall below what was committed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from holefill import evaluation

FLOORS = json.loads((Path(evaluation.__file__).parent / "results" / "floors.json").read_text())


@pytest.mark.model
@pytest.mark.parametrize("name", sorted(FLOORS))
def test_the_slice_is_not_below_its_floor(
    name: str, shared_data: Path, default_model_path: Path, tmp_path: Path
) -> None:
    slice_ = FLOORS[name]
    command = [str(Path(sys.executable).with_name("holefill")), "eval", slice_["suite"], "--data", str(shared_data)]
    command += ["--limit", str(slice_["limit"]), "--seed", "0", "--model", "qwen2.5-coder-0.5b", *slice_["options"]]
    done = subprocess.run(
        [*command, "--json", "--output", str(tmp_path)], check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["n"] == slice_["limit"]
    assert result["errors"] == 0
    for metric, floor in slice_["floors"].items():
        assert result["metrics"][metric] >= floor, (metric, result["metrics"])
