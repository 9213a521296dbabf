"""Records → means with intervals, by group; the one JSON object that ends every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holefill.evaluation.metrics.bootstrap import Interval, PairedDifference, mean_interval, paired_difference
from holefill.evaluation.metrics.latency import percentile
from holefill.evaluation.records import Record, RunHeader

_GROUPS: Mapping[str, Callable[[Record], tuple[str, ...]]] = {
    "kind": lambda record: (record.kind,),
    "cross_file": lambda record: () if record.cross_file is None else (str(record.cross_file).lower(),),
    "lang": lambda record: (record.language,),
    "repo": lambda record: (record.repo,) if record.repo else (),
    "length": lambda record: () if record.length is None else (str(record.length),),
    "source": lambda record: sources(record) if record.context != "off" else (),
}
"""Group → the groups of it a case counts in; a prompt has items of several sources."""
LATENCY_PERCENTS = (50, 90, 95, 99)
_EFFECTIVE_SHARE = 0.75
"""A context length is effective with at least this share of the accuracy at the shortest one (PAPERS §2.8)."""


@dataclass(frozen=True, slots=True)
class GroupSummary:
    n: int
    means: Mapping[str, float]

    def as_json(self) -> dict[str, float]:
        return {"n": self.n, **{name: round(mean, 2) for name, mean in self.means.items()}}


@dataclass(frozen=True, slots=True)
class Summary:
    """One arm of one run."""

    context: str
    overall: GroupSummary
    intervals: Mapping[str, Interval]
    by: Mapping[str, Mapping[str, GroupSummary]]
    errors: int
    latency_ms: Mapping[int, float]
    """Percentiles (``LATENCY_PERCENTS``) of the whole answer; empty where nothing was timed."""
    accepted_per_forward: float | None
    """Mean accepted tokens per target forward (MAT), over the whole run."""
    accepted_by_drafter: Mapping[str, float]
    """Share (0–100) of the run's tokens that a drafter had proposed and the model confirmed."""
    prefilled_tokens: int
    """Prompt tokens that went through the model, over the whole run."""
    prompt_tokens: int
    token_intervals: Mapping[str, Interval]
    """Means of ``Record.token_scores``."""


def sources(record: Record) -> tuple[str, ...]:
    return tuple(sorted({item.source for item in record.items})) or ("no context",)


def summarise(records: Sequence[Record], context: str, seed: int = 0) -> Summary:
    arm = [record for record in records if record.context == context]
    good = [record for record in arm if not record.error]
    totals = [record.total_ms for record in good if record.total_ms]
    # The first forward ends the prefill and is in no record's count, yet it gives tokens too: plain decoding is 1.00.
    forwards = sum(record.forwards + 1 for record in good if record.completion_tokens)
    tokens = sum(record.completion_tokens for record in good)
    intervals = {name: mean_interval(_values(good, name), seed=seed) for name in _names(good)}
    return Summary(
        context=context,
        overall=_group(good),
        intervals=intervals,
        by={name: _by(good, key) for name, key in _GROUPS.items()},
        errors=len(arm) - len(good),
        latency_ms={percent: percentile(totals, percent) for percent in LATENCY_PERCENTS} if totals else {},
        accepted_per_forward=tokens / forwards if forwards else None,
        accepted_by_drafter={name: 100 * n / tokens for name, n in _accepted(good).items()} if tokens else {},
        prefilled_tokens=sum(max(0, record.prompt_tokens - record.cached_tokens) for record in good),
        prompt_tokens=sum(record.prompt_tokens for record in good),
        token_intervals=_token_intervals(good, seed),
    )


def pair(a: Sequence[Record], b: Sequence[Record], seed: int = 0) -> Mapping[str, PairedDifference]:
    """B − A for every measure both have, over the cases both could run."""
    left = {record.id: record for record in a if not record.error}
    right = {record.id: record for record in b if not record.error}
    both = [identity for identity in left if identity in right]
    differences: dict[str, PairedDifference] = {}
    for name in _names([left[identity] for identity in both]):
        shared = [i for i in both if name in left[i].scores and name in right[i].scores]
        if shared:
            values_a = [left[i].scores[name] for i in shared]
            values_b = [right[i].scores[name] for i in shared]
            differences[name] = paired_difference(values_a, values_b, seed=seed)
    return differences


def same_prompts(a: Sequence[Record], b: Sequence[Record]) -> tuple[int, int]:
    """(cases whose prompts are the same token ids, cases where both runs say what the prompt was)."""
    left = {record.id: record.prompt_sha for record in a if record.prompt_sha}
    both = [(left[record.id], record.prompt_sha) for record in b if record.prompt_sha and record.id in left]
    return sum(mine == other for mine, other in both), len(both)


def effective_length(summary: Summary) -> int | None:
    """The longest context with at least 75 % of the accuracy of the shortest one, all shorter ones included."""
    lengths = sorted((int(name), group.means.get("em", 0.0)) for name, group in summary.by["length"].items())
    if not lengths:
        return None
    effective: int | None = None
    for length, accuracy in lengths:
        if accuracy <= 0 or accuracy < _EFFECTIVE_SHARE * lengths[0][1]:
            break
        effective = length
    return effective


def last_line(header: RunHeader, summary: Summary, seconds: float) -> dict[str, object]:
    """The contract of the last line: percentages are 0–100."""
    metrics: dict[str, object] = dict(summary.overall.as_json())
    metrics.pop("n")
    if (length := effective_length(summary)) is not None:
        metrics["effective_length"] = length
    by_class = summary.token_intervals
    return {
        "suite": header.suite,
        "n": summary.overall.n,
        "metrics": metrics,
        "intervals": {name: [round(i.low, 2), round(i.high, 2)] for name, i in summary.intervals.items()},
        "by": {
            name: {value: group.as_json() for value, group in groups.items()}
            for name, groups in summary.by.items()
            if groups
        },
        "errors": summary.errors,
        "tokens": {name: [round(i.mean, 2), round(i.low, 2), round(i.high, 2)] for name, i in by_class.items()},
        "latency_ms": {f"p{p}": _rounded(summary.latency_ms.get(p)) for p in LATENCY_PERCENTS},
        "mat": _rounded(summary.accepted_per_forward),
        "accepted_by_drafter": {name: round(share, 2) for name, share in summary.accepted_by_drafter.items()},
        "prefilled_tokens": summary.prefilled_tokens,
        "prompt_tokens": summary.prompt_tokens,
        "engine": header.engine or "holefill",
        "model": header.model,
        "model_sha256": header.model_sha256,
        "context": header.context,
        "device": header.device,
        "commit": header.commit,
        "suite_version": header.suite_version,
        "seed": header.seed,
        "seconds": round(seconds, 1),
    }


def paired_json(differences: Mapping[str, PairedDifference]) -> dict[str, dict[str, float | list[float]]]:
    return {
        name: {
            "n": d.n,
            "a": round(d.a, 2),
            "b": round(d.b, 2),
            "difference": round(d.difference.mean, 2),
            "interval": [round(d.difference.low, 2), round(d.difference.high, 2)],
            "gained": d.gained,
            "lost": d.lost,
        }
        for name, d in differences.items()
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _names(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record.scores))


def _values(records: Sequence[Record], name: str) -> list[float]:
    return [record.scores[name] for record in records if name in record.scores]


def _group(records: Sequence[Record]) -> GroupSummary:
    means = {name: _values(records, name) for name in _names(records)}
    return GroupSummary(len(records), {name: sum(values) / len(values) for name, values in means.items()})


def _by(records: Sequence[Record], key: Callable[[Record], tuple[str, ...]]) -> dict[str, GroupSummary]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        for value in key(record):
            groups.setdefault(value, []).append(record)
    return {value: _group(members) for value, members in sorted(groups.items())}


def _accepted(records: Sequence[Record]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for record in records:
        totals.update(record.accepted)
    return dict(sorted(totals.items()))


def _token_intervals(records: Sequence[Record], seed: int) -> dict[str, Interval]:
    values: dict[str, list[float]] = {}
    for record in records:
        for name, value in record.token_scores.items():
            values.setdefault(name, []).append(value)
    return {name: mean_interval(values[name], seed=seed) for name in sorted(values)}
