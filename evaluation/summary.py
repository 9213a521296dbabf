"""Records → means with intervals, by group; the one JSON object that ends every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holefill.evaluation.metrics.bootstrap import Interval, PairedDifference, mean_interval, paired_difference
from holefill.evaluation.metrics.latency import percentile
from holefill.evaluation.records import Record, RunHeader

_GROUPS: Mapping[str, Callable[[Record], str | None]] = {
    "kind": lambda record: record.kind,
    "cross_file": lambda record: None if record.cross_file is None else str(record.cross_file).lower(),
    "lang": lambda record: record.language,
    "repo": lambda record: record.repo or None,
    "length": lambda record: None if record.length is None else str(record.length),
}
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
    p50_ms: float | None
    p95_ms: float | None
    accepted_per_forward: float | None
    """Mean accepted tokens per target forward (MAT), over the whole run."""


def summarise(records: Sequence[Record], context: str, seed: int = 0) -> Summary:
    arm = [record for record in records if record.context == context]
    good = [record for record in arm if not record.error]
    totals = [record.total_ms for record in good if record.total_ms]
    forwards = sum(record.forwards for record in good)
    intervals = {name: mean_interval(_values(good, name), seed=seed) for name in _names(good)}
    return Summary(
        context=context,
        overall=_group(good),
        intervals=intervals,
        by={name: _by(good, key) for name, key in _GROUPS.items()},
        errors=len(arm) - len(good),
        p50_ms=percentile(totals, 50) if totals else None,
        p95_ms=percentile(totals, 95) if totals else None,
        accepted_per_forward=sum(r.completion_tokens for r in good) / forwards if forwards else None,
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
        "latency_ms": {"p50": _rounded(summary.p50_ms), "p95": _rounded(summary.p95_ms)},
        "mat": _rounded(summary.accepted_per_forward),
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


def _by(records: Sequence[Record], key: Callable[[Record], str | None]) -> dict[str, GroupSummary]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        value = key(record)
        if value is not None:
            groups.setdefault(value, []).append(record)
    return {value: _group(members) for value, members in sorted(groups.items())}
