"""Does drafting pay, and who earns it? Plain, all drafters and each alone, prompt by prompt in one interleaved run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from holefill.model.cancel import CancelToken
from holefill.model.engine import Speculator
from holefill.model.request import Backend, GenerateRequest, Timing
from holefill.model.spec.cost import CostCurve
from holefill.model.spec.drafters import DRAFTERS
from holefill.model.spec.speculator import TreeSpeculator

ALL = "all"


class WarmBackend(Backend, Protocol):
    def warm(self, prompt_ids: Sequence[int]) -> Timing: ...


@dataclass(frozen=True, slots=True)
class DrafterResult:
    """One mix of drafters over all prompts."""

    name: str
    mat: float
    """Mean accepted tokens per target forward, the bonus token included."""
    speedup: float
    nodes_per_round: float
    calibration_error: float
    mismatches: int
    """Prompts whose tokens differ from plain decoding."""


@dataclass(frozen=True, slots=True)
class SpeculationReport:
    prompts: int
    tokens: int
    plain_ms_per_token: float
    speedup: float
    mat: float
    calibration_error: float
    mismatches: int
    by_drafter: tuple[DrafterResult, ...]
    """Each drafter alone."""
    cost_ms: tuple[tuple[int, float], ...]
    """The measured t(n)."""


def measure_speculation(
    engine_with: Callable[[Speculator | None], WarmBackend],
    speculator_of: Callable[[Sequence[str]], TreeSpeculator],
    prompts: Sequence[GenerateRequest],
    *,
    cost: CostCurve,
    alone: Sequence[str] = tuple(DRAFTERS),
    clock: Callable[[], float] = time.perf_counter,
) -> SpeculationReport:
    """Decoding only: each engine has the prompt's rows before its clock starts.

    ``engine_with`` makes engines over one set of weights; ``speculator_of`` a fresh speculator of the drafters named.
    """
    mixes = {ALL: tuple(DRAFTERS)} | {name: (name,) for name in alone}
    speculators = {name: speculator_of(mix) for name, mix in mixes.items()}
    engines: dict[str, WarmBackend] = {name: engine_with(speculator) for name, speculator in speculators.items()}
    plain = engine_with(None)
    plain_seconds, tokens = 0.0, 0
    seconds = dict.fromkeys(mixes, 0.0)
    mismatches = dict.fromkeys(mixes, 0)
    for prompt in prompts:
        expected, took = _timed(plain, prompt, clock)
        plain_seconds += took
        tokens += len(expected)
        for name, engine in engines.items():
            found, took = _timed(engine, prompt, clock)
            seconds[name] += took
            mismatches[name] += found != expected
    results = {
        name: _result(name, speculators[name], plain_seconds / seconds[name], mismatches[name]) for name in mixes
    }
    together = results.pop(ALL)
    return SpeculationReport(
        prompts=len(prompts),
        tokens=tokens,
        plain_ms_per_token=1000 * plain_seconds / max(tokens, 1),
        speedup=together.speedup,
        mat=together.mat,
        calibration_error=together.calibration_error,
        mismatches=together.mismatches,
        by_drafter=tuple(results.values()),
        cost_ms=tuple(zip(cost.sizes, cost.ms, strict=True)),
    )


def _timed(engine: WarmBackend, prompt: GenerateRequest, clock: Callable[[], float]) -> tuple[tuple[int, ...], float]:
    engine.warm(prompt.prompt_ids)
    start = clock()
    chunks = list(engine.generate(prompt, CancelToken()))
    return tuple(id_ for chunk in chunks for id_ in chunk.token_ids), clock() - start


def _result(name: str, speculator: TreeSpeculator, speedup: float, mismatches: int) -> DrafterResult:
    tally = speculator.tally
    rounds = max(tally.rounds, 1)
    return DrafterResult(
        name=name,
        mat=tally.tokens / rounds,
        speedup=speedup,
        nodes_per_round=tally.drafted / rounds,
        calibration_error=speculator.calibration.reliability.error(),
        mismatches=mismatches,
    )
