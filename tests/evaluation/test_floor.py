"""A fixed slice of the real benchmark on the real model: quality must not fall below what was committed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from holefill import evaluation

FLOORS = json.loads((Path(evaluation.__file__).parent / "results" / "floors.json").read_text())


@pytest.mark.model
@pytest.mark.parametrize("suite", sorted(FLOORS))
def test_the_slice_is_not_below_its_floor(
    suite: str, shared_data: Path, default_model_path: Path, tmp_path: Path
) -> None:
    floor = FLOORS[suite]
    command = [str(Path(sys.executable).with_name("holefill")), "eval", suite, "--data", str(shared_data), "--json"]
    command += ["--limit", str(floor["limit"]), "--seed", str(floor["seed"]), "--model", floor["model"]]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["n"] == floor["limit"]
    assert result["errors"] == 0
    for metric in ("em", "em_untruncated"):
        assert result["metrics"][metric] >= floor[metric], result["metrics"]
