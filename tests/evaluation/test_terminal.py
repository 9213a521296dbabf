"""What a table of differences says of each measure."""

from __future__ import annotations

import pytest

from holefill.evaluation.metrics.bootstrap import Interval, PairedDifference
from holefill.evaluation.terminal import print_paired


@pytest.mark.parametrize(
    ("measure", "low", "high", "verdict"),
    [
        ("em", 1.0, 3.0, "better"),
        ("em", -3.0, -1.0, "worse"),
        ("em", -1.0, 3.0, ""),
        ("invented_names", -3.0, -1.0, "better"),
        ("invented_names", 1.0, 3.0, "worse"),
        ("member_invented", -3.0, -1.0, "better"),
    ],
)
def test_fewer_of_what_should_not_be_is_better(
    capsys: pytest.CaptureFixture[str], measure: str, low: float, high: float, verdict: str
) -> None:
    mean = (low + high) / 2
    print_paired("A", "B", {measure: PairedDifference(9, 10.0, 10.0 + mean, Interval(mean, low, high), 1, 1)})
    (row,) = [line for line in capsys.readouterr().out.splitlines() if measure in line]
    assert row.rstrip("│ \n").endswith(verdict or "1")
