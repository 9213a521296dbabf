"""The device of a result: figures of two kinds of CPU do not compare."""

from __future__ import annotations

from pathlib import Path

from holefill.evaluation.runner import cpu_name


def test_two_cpus_of_one_name_are_told_apart(tmp_path: Path) -> None:
    names = []
    for model in (17, 2):
        table = tmp_path / f"cpuinfo{model}"
        core = f"cpu family\t: 25\nmodel\t\t: {model}\nmodel name\t: AMD EPYC\n\n"
        table.write_text(f"processor\t: 0\n{core}processor\t: 1\n{core}")
        names.append(cpu_name(table).rpartition(" (")[0])
    assert names == ["cpu AMD EPYC family 25 model 17", "cpu AMD EPYC family 25 model 2"]


def test_a_system_that_tells_less_still_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "arm").write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")
    names = [cpu_name(tmp_path / name).rpartition(" (")[0] for name in ("arm", "none")]
    assert names == ["cpu cpu", "cpu cpu"]
