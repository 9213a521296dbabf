"""Does drafting pay, and who earns it? Plain decoding and every arm, prompt by prompt in one interleaved run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from holefill.model.cancel import CancelToken, Interrupt
from holefill.model.errors import EngineError
from holefill.model.parts import Speculator
from holefill.model.repository import RepositoryReply, RepositoryUpdate
from holefill.model.request import Backend, GenerateRequest, Timing
from holefill.model.spec.drafters import SEARCHING
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.spec.top import Likeliest
from holefill.model.spec.tree import DraftTree, Forced
from holefill.model.spec.verify import Verdict

OURS, PLAIN = "ours", "plain"
FIXED = (2, 4, 6, 8, 12)
THRESHOLDS = (0.3, 0.7)
WIDE = 16
"""Nodes of the arms that tell what drafters find, whatever a node costs here."""

Clock = Callable[[], float]


class WarmBackend(Backend, Protocol):
    def warm(self, prompt_ids: Sequence[int]) -> Timing: ...


@dataclass(frozen=True, slots=True)
class Prompt:
    request: GenerateRequest
    documents: tuple[Sequence[int], ...] = ()
    """Token ids of the repository around it."""
    cross_file: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """How a draft model decides how far to guess."""

    head: bool = True
    """By the acceptance head; else by its own probabilities."""
    threshold: float | None = None
    """The paper's, in place of measured costs."""


@dataclass(frozen=True, slots=True)
class Arm:
    drafters: tuple[str, ...] = SEARCHING[:1]
    fixed_nodes: int | None = None
    draft: Draft | None = None
    """A draft model beside the drafters."""


def draft_arms() -> dict[str, Arm]:
    """A draft model alone and beside the automaton, by costs and by fixed thresholds (the paper's two)."""
    found = {"draft_model": Arm((), draft=Draft()), "draft_model own p": Arm((), draft=Draft(head=False))}
    found |= {f"draft_model h={h}": Arm((), draft=Draft(threshold=h)) for h in THRESHOLDS}
    found["automaton+draft_model"] = Arm(draft=Draft())
    return found | {f"automaton+draft_model h={h}": Arm(draft=Draft(threshold=h)) for h in THRESHOLDS}


def arms(fixed: Sequence[int] = FIXED) -> dict[str, Arm]:
    """What serves by default and that with a fixed number of nodes; then all drafters, each of the others alone, and
    all without the automaton; and those again with many nodes."""
    others = SEARCHING[1:]
    sets = {"all": SEARCHING} | {name: (name,) for name in SEARCHING} | {"+".join(others): others}
    found = {OURS: Arm()} | {f"K={nodes}": Arm(fixed_nodes=nodes) for nodes in fixed}
    found |= {name: Arm(names) for name, names in sets.items() if names != Arm().drafters}
    return found | {f"{name} K={WIDE}": Arm(names, WIDE) for name, names in sets.items()}


@dataclass(slots=True)
class ArmResult:
    """Of one arm over all prompts; times are of whole answers, the prompt's rows being there."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    tokens: int = 0
    rounds: int = 0
    drafted: int = 0
    cross_tokens: int = 0
    cross_rounds: int = 0
    mismatches: int = 0
    """Prompts whose tokens differ from plain decoding."""
    calibration_error: float = 0.0

    @property
    def mat(self) -> float:
        """Mean tokens per target forward, the bonus token included."""
        return self.tokens / max(self.rounds, 1)

    @property
    def cross_mat(self) -> float:
        return self.cross_tokens / max(self.cross_rounds, 1)

    @property
    def nodes_per_round(self) -> float:
        return self.drafted / max(self.rounds, 1)


@dataclass(frozen=True, slots=True)
class SpeculationReport:
    prompts: int
    cross_file: int
    results: Mapping[str, ArmResult]
    """By arm, ``plain`` among them."""

    def speedup(self, name: str, *, cpu: bool = False) -> float:
        """Of an arm over plain decoding."""
        plain, arm = self.results[PLAIN], self.results[name]
        return plain.cpu_seconds / arm.cpu_seconds if cpu else plain.seconds / arm.seconds


@dataclass(slots=True)
class Switch:
    """A ``Speculator`` that asks one of many; all of them learn from prompts. None drafts nothing."""

    all: Sequence[TreeSpeculator]
    current: TreeSpeculator | None = field(default=None)

    def propose(
        self,
        request: GenerateRequest,
        ids: Sequence[int],
        budget: int,
        forced: tuple[Forced, ...] = (),
        interrupt: Interrupt | None = None,
    ) -> DraftTree:
        if self.current is None:
            return DraftTree.root(ids[-1])
        return self.current.propose(request, ids, budget, forced, interrupt)

    def observe(self, tree: DraftTree, verdict: Verdict, top: Likeliest) -> None:
        if self.current is not None:
            self.current.observe(tree, verdict, top)

    def learn(self, ids: Sequence[int], top: Likeliest) -> None:
        for speculator in self.all:
            speculator.learn(ids, top)

    def follow(self, ids: Sequence[int], interrupt: Interrupt | None = None) -> None:
        for speculator in self.all:
            speculator.follow(ids, interrupt)

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        raise EngineError("a measurement gives its drafters their repository itself")


def measure_speculation(
    engine_with: Callable[[Speculator], WarmBackend],
    speculator_of: Callable[[Arm], TreeSpeculator],
    prompts: Iterable[Prompt],
    arms: Mapping[str, Arm],
    *,
    clock: Clock = time.perf_counter,
    cpu_clock: Clock = time.process_time,
) -> SpeculationReport:
    """One engine serves all arms in turn, so that they share weights, rows and what the prompts taught.

    The prompt is prefilled in the background before any clock starts, as when the cursor came to rest there. The arm
    that begins changes from prompt to prompt.
    """
    speculators = {name: speculator_of(arm) for name, arm in arms.items()}
    switch = Switch(tuple(speculators.values()))
    engine = engine_with(switch)
    order: list[str] = [PLAIN, *arms]
    results = {name: ArmResult() for name in order}
    count = cross = 0
    for prompt in prompts:
        for store in {id(speculator.repositories): speculator.repositories for speculator in switch.all}.values():
            store.index(prompt.request.repository, prompt.documents)
        engine.warm(prompt.request.prompt_ids)
        expected: dict[str, tuple[int, ...]] = {}
        for name in order[count % len(order) :] + order[: count % len(order)]:
            switch.current = speculators.get(name)
            expected[name] = _run(engine, prompt, results[name], switch.current, clock, cpu_clock)
        for name, found in expected.items():
            results[name].mismatches += found != expected[PLAIN]
        count, cross = count + 1, cross + prompt.cross_file
    for name, speculator in speculators.items():
        results[name].calibration_error = speculator.calibration.reliability.error()
    return SpeculationReport(count, cross, results)


def _run(
    engine: WarmBackend,
    prompt: Prompt,
    result: ArmResult,
    speculator: TreeSpeculator | None,
    clock: Clock,
    cpu_clock: Clock,
) -> tuple[int, ...]:
    drafted = 0 if speculator is None else speculator.tally.drafted
    start, cpu_start = clock(), cpu_clock()
    chunks = list(engine.generate(prompt.request, CancelToken()))
    result.seconds += clock() - start
    result.cpu_seconds += cpu_clock() - cpu_start
    timing = chunks[-1].timing or Timing()
    rounds = timing.forwards + 1  # the one that ends the prefill writes a token too
    result.tokens += timing.completion_tokens
    result.rounds += rounds
    if speculator is not None:
        result.drafted += speculator.tally.drafted - drafted
    if prompt.cross_file:
        result.cross_tokens += timing.completion_tokens
        result.cross_rounds += rounds
    return tuple(id_ for chunk in chunks for id_ in chunk.token_ids)
