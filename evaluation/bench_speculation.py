"""What drafting brings: the same prompts with and without it, interleaved, on the same weights and threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from holefill.evaluation.bench_contestants import Ours
from holefill.evaluation.bench_peers import measure_llama_cpp
from holefill.evaluation.bench_text import Place, places
from holefill.evaluation.cases import Case, Workspace, sample
from holefill.evaluation.latency import Key, latency_json, replay_keys
from holefill.evaluation.runner import System, cpu_name
from holefill.evaluation.suites.loaders import LOADERS
from holefill.model.request import GenerateRequest
from holefill.model.spec.measure import (
    OURS,
    PLAIN,
    Arm,
    Prompt,
    SpeculationReport,
    arms,
    draft_arms,
    measure_speculation,
)
from holefill.model.spec.repository import RepositoryStore
from holefill.model.spec.speculator import TreeSpeculator

_TOKENS = 48
_PREFIX_TOKENS, _SUFFIX_TOKENS = 400, 64
_HOLE_LINES = 3
_KEYS = 12


def measure_on_source(ours: Ours, prompts: int) -> dict[str, object]:
    """On this package's own source, so that no data is needed."""
    report, accepted = _measure(ours, _own_prompts(ours, prompts), {OURS: Arm()})
    keys = latency_json(_keys(ours, prompts))
    return _summary(report, accepted) | {
        "prefilled_per_key": keys["prefilled_per_key"],
        "in_window": keys["in_window"],
        "key_p50_ms": keys["p50_ms"],
        "key_p95_ms": keys["p95_ms"],
    }


def measure_on_replay(
    ours: Ours, data: Path, prompts: int, peer: Path | None = None, seed: int = 0
) -> dict[str, object]:
    """On ``prompts`` recorded edits; other drafters, and trees of fixed size, in the same run; with a draft model, its
    arms instead.

    ``peer``: a GGUF file for llama.cpp to answer the same prompts with. Raises ImportError where it is not installed.
    """
    asked = list(_replay_prompts(ours, data, prompts, seed))
    wanted = arms() if ours.draft is None else {OURS: Arm()} | draft_arms()
    report, accepted = _measure(ours, iter(asked), wanted)
    table = {
        name: {
            "speedup": round(report.speedup(name), 3),
            "speedup_cpu": round(report.speedup(name, cpu=True), 3),
            "mat": round(result.mat, 3),
            "mat_cross_file": round(result.cross_mat, 3),
            "nodes": round(result.nodes_per_round, 2),
            "calibration_error": round(result.calibration_error, 4),
        }
        for name, result in report.results.items()
        if name != PLAIN
    }
    found = _summary(report, accepted) | {"cross_file": report.cross_file, "seed": seed, "arms": table}
    if ours.draft is not None:
        found["draft_step_ratio"] = round(ours.draft_ms / ours.cost()(1), 3)
    if peer is not None:
        requests = [prompt.request for prompt in asked]
        found["peers"] = measure_llama_cpp(peer, ours.threads, requests, ours.tokenizer.stop_ids)
    return found


def _measure(
    ours: Ours, prompts: Iterator[Prompt], wanted: Mapping[str, Arm]
) -> tuple[SpeculationReport, Mapping[str, int]]:
    """The report, and tokens that the drafters of the default got right, by source."""
    store = RepositoryStore(ours.tokenizer.encode)
    by_default: list[TreeSpeculator] = []

    def speculator_of(arm: Arm) -> TreeSpeculator:
        made = ours.speculator(arm, store)
        if arm == Arm():
            by_default.append(made)
        return made

    report = measure_speculation(ours.engine, speculator_of, prompts, wanted)
    return report, by_default[0].tally.accepted_by_source


def _summary(report: SpeculationReport, accepted: Mapping[str, int]) -> dict[str, object]:
    """``speedup``: tokens per second over our own engine without drafts; ``mat``: tokens per forward;
    ``by_drafter``: share of the tokens that each had proposed."""
    drafting, plain = report.results[OURS], report.results[PLAIN]
    return {
        "speedup": round(report.speedup(OURS), 3),
        "speedup_cpu": round(report.speedup(OURS, cpu=True), 3),
        "mat": round(drafting.mat, 3),
        "by_drafter": {name: round(count / drafting.tokens, 3) for name, count in sorted(accepted.items())},
        "tok_s": round(drafting.tokens / drafting.seconds, 2),
        "tok_s_plain": round(plain.tokens / plain.seconds, 2),
        "tok_per_cpu_s": round(drafting.tokens / drafting.cpu_seconds, 2),
        "tok_per_cpu_s_plain": round(plain.tokens / plain.cpu_seconds, 2),
        "mismatches": sum(result.mismatches for result in report.results.values()),
        "prompts": report.prompts,
        "tokens": drafting.tokens,
    }


def _own_prompts(ours: Ours, count: int) -> Iterator[Prompt]:
    """The hole of a suggestion, where lines were removed, in each of a few files; the others are the repository."""
    for place in places(count):
        others = [other.text for other in places(count) if other.path != place.path]
        removed = place.text[place.offset :].split("\n", _HOLE_LINES)
        request = _request(ours, place.text[: place.offset], "\n" + removed[-1])
        yield Prompt(request, tuple(ours.tokenizer.encode(text) for text in others))


def _replay_prompts(ours: Ours, data: Path, count: int, seed: int) -> Iterator[Prompt]:
    """The repository is the snapshot without the edited file, and that file's text around the hole."""
    case_set = LOADERS["replay"](data, (), seed)
    encode = ours.tokenizer.encode
    snapshots: dict[str, dict[str, list[int]]] = {}
    for case in sample(case_set.cases, count, seed):
        name = case.workspace or ""
        if name not in snapshots:
            files = case_set.workspaces.get(name, Workspace(name)).files()
            snapshots[name] = {path: encode(text) for path, text in files}
        hidden = {case.path, *case.dropped}
        around = [encode(case.prefix), encode(case.suffix)]
        documents = [ids for path, ids in snapshots[name].items() if path not in hidden]
        yield Prompt(_request(ours, case.prefix, case.suffix), (*documents, *around), bool(case.cross_file))


def _request(ours: Ours, before: str, after: str) -> GenerateRequest:
    """400 tokens before the hole, 64 after it."""
    encode, fim = ours.tokenizer.encode, ours.tokenizer.fim_ids()
    prefix = encode(before)[-_PREFIX_TOKENS:]
    if fim is None:
        return GenerateRequest(tuple(prefix), max_tokens=_TOKENS)
    return GenerateRequest((fim[0], *prefix, fim[1], *encode(after)[:_SUFFIX_TOKENS], fim[2]), max_tokens=_TOKENS)


def _keys(ours: Ours, prompts: int) -> list[Key]:
    """Someone types the next characters of each file."""
    engine = ours.engine(ours.speculator())
    system = System(engine, ours.tokenizer, cpu_name())
    return list(replay_keys(system, [_case(place) for place in places(prompts)], _KEYS))


def _case(place: Place) -> Case:
    before, after = place.text[: place.offset], place.text[place.offset :]
    return Case(place.path, "python", place.path, before, after, "\n")
