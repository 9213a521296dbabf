"""What `holefill eval gather` times: half-typed lines of many files, the first of each untimed, equal by seed."""

from __future__ import annotations

import sys
from pathlib import Path

from holefill.context.index.workspace import WorkspaceIndex
from holefill.evaluation.gather_latency import Timed, cursors, summary, workspace_of


def test_cursors_stand_in_half_typed_lines_and_warm_each_file_once(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in "abc":
        (source / f"{name}.py").write_text("".join(f"value_{n} = compute({n})\n" for n in range(30)))
    (source / "short.py").write_text("x = 1\n")
    assert workspace_of(source, 10, 0, target) == 4
    index = WorkspaceIndex(target)
    index.refresh()
    asked = list(cursors(index, 7, seed=3))
    assert asked == list(cursors(index, 7, seed=3))
    assert sum(timed for _, timed in asked) == 7
    seen: set[str] = set()
    for cursor, timed in asked:
        assert timed == (cursor.path in seen)
        seen.add(cursor.path)
        whole = (target / Path(cursor.path).name).read_text()
        assert whole.startswith(cursor.prefix)
        assert whole.endswith(cursor.suffix)
        assert cursor.suffix.startswith("\n")
        assert not cursor.prefix.endswith("\n")


def test_the_standard_library_is_no_module_of_the_workspace_itself(tmp_path: Path) -> None:
    """A workspace with modules of these names at its root is no project's, and the slowest there is for a checker."""
    assert workspace_of(None, 30, 0, tmp_path) == 30
    assert [path.name in sys.stdlib_module_names for path in tmp_path.iterdir()] == [False]


def test_percentiles_are_by_name() -> None:
    rows = [Timed("gather", float(ms), ms / 2) for ms in range(1, 21)] + [Timed("expectedType", 3.0, 1.0)]
    assert summary(rows) == {
        "gather": {"n": 20, "p50_ms": 10.0, "p95_ms": 19.0, "cpu_p50_ms": 5.0},
        "expectedType": {"n": 1, "p50_ms": 3.0, "p95_ms": 3.0, "cpu_p50_ms": 1.0},
    }
