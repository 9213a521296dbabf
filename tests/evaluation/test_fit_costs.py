"""What alternatives and masks are measured by."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from holefill.evaluation.alternatives import BRANCHES, FIRST_TOKENS, MASKED, Answers, summary
from holefill.evaluation.commands import evaluate
from holefill.evaluation.mask_cost import Answered, Cost
from tests.evaluation.conftest import last


def test_ways_are_compared_case_by_case() -> None:
    poor, good = Answers(1, False, False), Answers(4, False, True)
    both = [{FIRST_TOKENS: poor, BRANCHES: good, MASKED: poor}, {FIRST_TOKENS: good, BRANCHES: good, MASKED: good}]
    table = summary(both)
    branches, base = table[BRANCHES], table[FIRST_TOKENS]
    assert isinstance(branches, dict)
    assert isinstance(base, dict)
    assert base["distinct_valid_at_5"][0] == 2.5
    assert branches["distinct_valid_at_5_difference"][0] == 1.5
    assert branches["oracle_em_at_5_difference"] == [50.0, 0.0, 100.0]
    assert "oracle_em_at_5_difference" not in base


def test_only_answers_that_masks_left_alone_tell_what_masks_cost() -> None:
    plain, masked, other = Answered((1, 2), 1.0, 2.0), Answered((1, 2), 2.0, 2.5), Answered((1, 3), 9.0, 9.0)
    told = Cost(pairs=[(plain, masked), (plain, other)]).summary()
    assert (told["n"], told["equal"], told["tokens"]) == (2, 1, 2)
    assert (told["ratio"], told["ratio_cpu"]) == (50.0, 80.0)


@pytest.mark.model
@pytest.mark.parametrize("command", ["alternatives", "mask-cost"])
def test_the_commands_run_on_the_real_model(default_model_path: Path, shared_data: Path, command: str) -> None:
    arguments = [command, "--data", str(shared_data), "--repos", "click", "--limit", "2"]
    told = last(CliRunner().invoke(evaluate, [*arguments, "--model", str(default_model_path)]))
    assert told["suite"] == command
    if command == "alternatives":
        assert told["n"] == 2
        assert 1 <= told["metrics"][BRANCHES]["distinct_valid_at_5"][0] <= 5
    else:
        assert told["metrics"]["n"] == 4
        assert told["dependent_percent"]["python"] < 2
