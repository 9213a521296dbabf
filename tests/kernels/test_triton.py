"""The Triton kernels without a GPU: their own tests under the interpreter, and every kernel compiled ahead of time.

Both need a process of their own: Triton decides at its first import how kernels run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from itertools import pairwise, product
from pathlib import Path

import pytest

from holefill.kernels import aot, attention
from holefill.kernels.segments import Visible

FOLDER = Path(__file__).with_name("triton")

if importlib.util.find_spec("triton") is None:
    if os.environ.get("CI") == "true":
        raise ImportError("triton is not installed: run `make setup`")
    pytest.skip("triton is not installed: pip install 'holefill[gpu]'", allow_module_level=True)


def run(*command: str, interpret: bool) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_DEFAULT_FP_FUSION": "1", "OMP_NUM_THREADS": "1"}
    if interpret:
        environment["TRITON_INTERPRET"] = "1"
    return subprocess.run(
        [sys.executable, "-P", *command], capture_output=True, text=True, env=environment, check=False
    )


def test_kernels_equal_their_references_under_the_interpreter() -> None:
    result = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", str(FOLDER), interpret=True)
    assert result.returncode == 0, f"TRITON_INTERPRET=1 pytest {FOLDER}\n{result.stdout[-6000:]}{result.stderr[-2000:]}"
    assert " passed" in result.stdout
    assert " skipped" not in result.stdout


@pytest.fixture(scope="module")
def compiled() -> tuple[str, list[aot.Resources]]:
    """The compiler's version and what each kernel takes."""
    result = run("-m", "holefill.kernels.aot", interpret=False)
    assert result.returncode == 0, result.stderr[-4000:]
    report = json.loads(result.stdout.splitlines()[-1])
    return report["triton"], [aot.Resources(**row) for row in report["results"]]


def test_every_kernel_compiles_for_every_target(compiled: tuple[str, list[aot.Resources]]) -> None:
    found = {(row.kernel, row.cap) for row in compiled[1]}
    assert found == {(case.name, cap) for case in aot.cases() for cap in aot.LIMITS}


def test_nothing_spills_and_shared_memory_fits(compiled: tuple[str, list[aot.Resources]]) -> None:
    assert [row for row in compiled[1] if row.stack > 0] == []
    assert [row for row in compiled[1] if row.shared > aot.LIMITS[row.cap]] == []


def test_the_committed_table_is_this_compilers(compiled: tuple[str, list[aot.Resources]]) -> None:
    version, results = compiled
    committed = aot.TABLE.read_text("utf-8")
    if f"triton {version};" not in committed:
        pytest.skip(f"the table is of another triton than {version}: python -m holefill.kernels.aot --table")
    assert committed == aot.table(results, version)


def test_every_kernel_file_is_compiled() -> None:
    """A kernel that is not in ``aot.cases`` would go unseen."""
    written = set()
    for path in Path(aot.__file__).parent.glob("*.py"):
        lines = path.read_text("utf-8").splitlines()
        written |= {after.split("(")[0].removeprefix("def ") for at, after in pairwise(lines) if at == "@jit"}
    written = {name for name in written if name.endswith("_kernel")}  # the others are their helpers
    assert written == {case.kernel.__name__ for case in aot.cases()}


def test_every_launch_of_the_decoder_is_compiled() -> None:
    """Rows of the pool by table, each visibility, few rows and many."""
    constants = [case.constants for case in aot.cases() if case.kernel is attention._attend_kernel]
    found = {(of["HEAD_DIM"], of["VISIBLE"], of["BLOCK_M"]) for of in constants if of["INDEXED"]}
    rows = (attention.DECODE_ROWS, attention.PREFILL_ROWS)
    assert found == set(product((64, 128), (int(visible) for visible in Visible), rows))


def test_the_interpreter_is_refused_for_compiling() -> None:
    result = run("-m", "holefill.kernels.aot", interpret=True)
    assert result.returncode == 2
    assert "TRITON_INTERPRET unset" in result.stderr
