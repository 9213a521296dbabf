"""The plots of one suite: every run and arm of it beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holefill.evaluation.metrics.bootstrap import Interval, mean_interval
from holefill.evaluation.metrics.latency import EDITOR_WINDOW_MS
from holefill.evaluation.plots import Bar, Series, bars, curve, differences, distribution
from holefill.evaluation.records import Record, RunHeader
from holefill.evaluation.suites.registry import load_suites
from holefill.evaluation.summary import Summary, pair, sources

HEADLINES = ("pass_at_1", "em", "nim", "expected_type", "es")
"""The first of these that a suite has is its headline."""
_PAIRED = ("pass_at_1", "em", "es", "id_f1", "cross_names", "em_untruncated", "nim")
_SPOKEN = {"em_untruncated": "Exact as shown", "id_f1": "Identifier F1", "cross_names": "Cross-file names"}
_MIN_CURVE, _CURVE_GROUPS = 10, 5
_TIMED = 5


@dataclass(frozen=True, slots=True)
class Arm:
    """One context of one run; ``series`` is its colour in every plot of the suite."""

    title: str
    series: int
    header: RunHeader
    summary: Summary
    records: tuple[Record, ...]

    @property
    def good(self) -> list[Record]:
        return [record for record in self.records if not record.error]


def headline(arms: Sequence[Arm]) -> str | None:
    return next((name for name in HEADLINES if any(name in arm.summary.overall.means for arm in arms)), None)


def figures(arms: Sequence[Arm]) -> list[str]:
    name = headline(arms)
    found = [] if name is None else [_main(arms, name), *_groups(arms, name), *_sources(arms, name)]
    found += [*_paired(arms), *_retrieval(arms), *_latency(arms), *_drafters(arms), *_per_forward(arms)]
    return found + ([] if name is None else [*_budget(arms, name), *_prompt_size(arms, name)]) + _classes(arms)


def title_of(measure: str) -> str:
    return {
        "em": "Exact match",
        "pass_at_1": "pass@1",
        "es": "Edit similarity",
        "nim": "Next identifier",
        **_SPOKEN,
    }.get(measure, measure.replace("_", " "))


def _main(arms: Sequence[Arm], name: str) -> str:
    rows = []
    for arm in arms:
        interval = arm.summary.intervals.get(name)
        if interval is not None:
            note = f"n {arm.summary.overall.n}"
            rows.append(Bar(arm.title, interval.mean, interval.low, interval.high, arm.series, note))
    return bars(f"{title_of(name)}, all cases", rows)


def _groups(arms: Sequence[Arm], name: str) -> list[str]:
    """By kind, language, …: only groups that split the cases."""
    plots = []
    for group in ("kind", "cross_file", "lang", "repo", "length"):
        values = list(dict.fromkeys(value for arm in arms for value in arm.summary.by[group]))
        rows = [
            Bar(_spoken(group, value), member.means[name], series=arm.series, note=f"n {member.n}")
            for value in sorted(values, key=lambda text: (len(text) if text.isdigit() else 0, text))
            for arm in arms
            if (member := arm.summary.by[group].get(value)) is not None and name in member.means
        ]
        if len(values) > 1:
            plots.append(bars(f"{title_of(name)} by {group.replace('_', ' ')}", rows, legend=_legend(arms, rows)))
    return plots


def _spoken(group: str, value: str) -> str:
    if group == "cross_file":
        return {"true": "another file needed", "false": "this file is enough"}[value]
    return value


def _sources(arms: Sequence[Arm], name: str) -> list[str]:
    """Cases that had an item of each source in their prompt, and those that had none."""
    rows = []
    for arm in arms:
        groups: dict[str, list[float]] = {}
        for record in arm.good:
            if name in record.scores:
                for source in sources(record):
                    groups.setdefault(source, []).append(record.scores[name])
        for source, values in sorted(groups.items()):
            i = mean_interval(values)
            rows.append(Bar(source, i.mean, i.low, i.high, arm.series, f"n {len(values)}"))
    rows.sort(key=lambda bar: bar.label)
    if len({bar.label for bar in rows}) < 2:
        return []
    return [bars(f"{title_of(name)} by context source in the prompt", rows, legend=_legend(arms, rows))]


def _paired(arms: Sequence[Arm]) -> list[str]:
    """Each arm against the first, on the cases both ran."""
    plots = []
    for arm in arms[1:]:
        found = pair(arms[0].records, arm.records)
        rows = [
            Bar(title_of(name), d.difference.mean, d.difference.low, d.difference.high, arm.series, f"n {d.n}")
            for name in _PAIRED
            if (d := found.get(name)) is not None
        ]
        if rows:
            plots.append(differences(f"{arm.title} against {arms[0].title}, same cases", rows))
    return plots


def _retrieval(arms: Sequence[Arm]) -> list[str]:
    names = ("recall", "precision", "iou", "precision_omega")
    rows = [
        Bar(name.replace("_omega", " Ω"), i.mean, i.low, i.high, arm.series)
        for name in names
        for arm in arms
        if (i := arm.summary.intervals.get(name)) is not None
    ]
    return [bars("Retrieved tokens against the definitions needed", rows, legend=_legend(arms, rows))] if rows else []


def _latency(arms: Sequence[Arm]) -> list[str]:
    timed = [(arm, [r.total_ms for r in arm.good if r.total_ms]) for arm in arms]
    timed = [(arm, values) for arm, values in timed if len(values) >= _TIMED]
    if not timed:
        return []
    mark = (EDITOR_WINDOW_MS, "an editor waits this long")
    plots = [distribution(f"Time to the answer{_warmth(arms)}", [(a.title, v, a.series) for a, v in timed], "ms", mark)]
    if len(timed) == 1:
        good = [record for record in timed[0][0].good if record.total_ms]
        stages = [("prefill", [r.prefill_ms for r in good], 1), ("decode", [r.decode_ms for r in good], 2)]
        plots.append(distribution("… of which", stages, "ms"))
    return plots


def _drafters(arms: Sequence[Arm]) -> list[str]:
    rows = [
        Bar(name, share, series=arm.series)
        for name in sorted({name for arm in arms for name in arm.summary.accepted_by_drafter})
        for arm in arms
        if (share := arm.summary.accepted_by_drafter.get(name)) is not None
    ]
    return [bars("Tokens that came from a draft, % by drafter", rows, legend=_legend(arms, rows))] if rows else []


def _per_forward(arms: Sequence[Arm]) -> list[str]:
    rows = []
    for arm in arms:
        groups: dict[str, list[Record]] = {}
        for record in arm.good:
            if record.completion_tokens:
                groups.setdefault(record.kind, []).append(record)
        for kind, members in groups.items():
            tokens = sum(record.completion_tokens for record in members)
            rate = tokens / sum(record.forwards + 1 for record in members)
            rows.append(Bar(kind, rate, series=arm.series, note=f"n {len(members)}"))
    rows.sort(key=lambda bar: bar.label)
    if not rows:
        return []
    top = max(2.0, *(bar.value for bar in rows))
    title = f"Tokens per forward of the model (1 = plain decoding){_warmth(arms)}"
    return [bars(title, rows, top=top, legend=_legend(arms, rows))]


def _warmth(arms: Sequence[Arm]) -> str:
    """Arms of one run follow each other case by case: the later ones find cached rows and drafts of the earlier."""
    return "; later arms are warm" if len({id(arm.header) for arm in arms}) < len(arms) else ""


def _budget(arms: Sequence[Arm], name: str) -> list[str]:
    """One line per engine, model and kind of context, from no context over the budgets that were run."""
    lines: dict[tuple[str, str, str], dict[int, Interval]] = {}
    for arm in arms:
        interval = arm.summary.intervals.get(name)
        if interval is not None:
            key = (arm.header.engine, arm.header.model, arm.summary.context)
            lines.setdefault(key, {})[_budget_of(arm)] = interval
    series: list[Series] = []
    for (engine, model, context), points in lines.items():
        points = {**lines.get((engine, model, "off"), {}), **points}
        if context != "off" and len(points) > 1:
            label = ", ".join(part for part in (engine, model, context) if part)
            places = tuple((float(budget), points[budget].mean) for budget in sorted(points))
            band = tuple((points[budget].low, points[budget].high) for budget in sorted(points))
            series.append(Series(label, places, band, len(series)))
    title = f"{title_of(name)} against the budget of repository context"
    return [curve(title, series, "tokens of budget", "%")] if series else []


def _budget_of(arm: Arm) -> int:
    if arm.summary.context == "off":
        return 0
    if arm.header.context_tokens is not None:
        return arm.header.context_tokens
    suite = load_suites().get(arm.header.suite)
    return 0 if suite is None else suite.prompt.context_tokens


def _prompt_size(arms: Sequence[Arm], name: str) -> list[str]:
    """Five groups of equal size by the length of the prompt."""
    series = []
    for arm in arms:
        scored = sorted((r.prompt_tokens, r.scores[name]) for r in arm.good if name in r.scores and r.prompt_tokens)
        if len(scored) >= _MIN_CURVE:
            series.append(_curve_of(arm, scored))
    return [curve(f"{title_of(name)} against prompt tokens", series, "tokens", "%", top=100.0)] if series else []


def _curve_of(arm: Arm, scored: Sequence[tuple[int, float]]) -> Series:
    size = -(-len(scored) // _CURVE_GROUPS)
    chunks = [scored[start : start + size] for start in range(0, len(scored), size)]
    intervals = [mean_interval([value for _, value in chunk]) for chunk in chunks]
    points = tuple(
        (sum(tokens for tokens, _ in chunk) / len(chunk), i.mean) for chunk, i in zip(chunks, intervals, strict=True)
    )
    return Series(arm.title, points, tuple((i.low, i.high) for i in intervals), arm.series)


def _classes(arms: Sequence[Arm]) -> list[str]:
    plots = []
    titles = {"rouge_l": "ROUGE-L by class of token", "mrr_at_10": "MRR@10 of the true token, by class"}
    for measure, title in titles.items():
        rows = []
        for arm in arms:
            means: Mapping[str, float] = {
                key.split("/")[1]: i.mean for key, i in arm.summary.token_intervals.items() if key.startswith(measure)
            }
            rows += [Bar(name, mean, series=arm.series) for name, mean in means.items() if not name.startswith("first")]
        rows.sort(key=lambda bar: bar.label)
        if rows:
            plots.append(bars(title, rows, legend=_legend(arms, rows)))
    return plots


def _legend(arms: Sequence[Arm], rows: Sequence[Bar]) -> list[tuple[str, int]]:
    """Of the arms that are drawn, where there are several to tell apart."""
    drawn = {bar.series for bar in rows}
    return [(arm.title, arm.series) for arm in arms if arm.series in drawn] if len(arms) > 1 else []
