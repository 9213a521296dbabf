"""Saved runs → one self-contained HTML page: what a person looks at first, then the tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from holefill.evaluation.metrics.bootstrap import mean_interval
from holefill.evaluation.metrics.latency import EDITOR_WINDOW_MS
from holefill.evaluation.plots import Bar, Series, bars, curve, distribution
from holefill.evaluation.records import Record, Run
from holefill.evaluation.summary import Summary, pair, summarise

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #66717f; --line: #d8dee6; --back: #fbfcfd; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ef; --soft: #9aa6b4; --line: #34404d; --back: #14191f; --card: #1b222a; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 1120px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
.soft { color: var(--soft); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 1rem; }
figure { margin: 0; padding: .8rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
figcaption { font-weight: 600; margin-bottom: .3rem; } svg { width: 100%; height: auto; font-size: 12px; }
svg text { fill: var(--ink); }
.grid, .axis { stroke: var(--line); fill: none; } .whisker { stroke: var(--ink); fill: none; }
.mark { stroke: #c0392b; stroke-dasharray: 4 3; fill: none; }
table { border-collapse: collapse; width: 100%; background: var(--card);
  font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
details { margin: .3rem 0; }
pre { overflow-x: auto; padding: .5rem; border: 1px solid var(--line); border-radius: 6px; }
"""
_SHOWN_MISSES = 12


def render(runs: Sequence[Run]) -> str:
    sections = "".join(_section(run) for run in runs)
    between = _between(runs) if len(runs) > 1 else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>holefill evaluation</title>'
        f'<link rel="icon" href="data:,"><style>{_STYLE}</style></head><body><h1>holefill evaluation</h1>'
        '<p class="soft">Percentages with 95 % bootstrap intervals. Nothing on this page is loaded from elsewhere.</p>'
        f"{between}{sections}</body></html>"
    )


def _section(run: Run) -> str:
    contexts = list(dict.fromkeys(record.context for record in run.records))
    summaries = [summarise(run.records, context) for context in contexts]
    header = run.header
    facts = " · ".join([_name(run), header.device, f"commit {header.commit or '?'}", f"seed {header.seed}"])
    plots = [_main(summaries), *_groups(summaries), *_sources(run), *_latency(run), *_drafting(run), *_budget(run)]
    return (
        f"<section><h2>{escape(header.suite)}</h2><p class='soft'>{escape(facts)}</p>"
        f'<div class="plots">{"".join(plots)}</div>{"".join(_table(s) for s in summaries)}{_misses(run)}</section>'
    )


def _main(summaries: Sequence[Summary]) -> str:
    rows = [
        Bar(f"{name} ({s.context})", i.mean, i.low, i.high, number, f"n {s.overall.n}")
        for number, s in enumerate(summaries)
        for name, i in s.intervals.items()
    ]
    return bars("All cases", rows)


def _groups(summaries: Sequence[Summary]) -> list[str]:
    """EM by kind, language, …: only groups that split the cases."""
    plots = []
    for group in ("kind", "cross_file", "lang", "repo"):
        rows = [
            Bar(f"{value} (n {member.n}, {s.context})", member.means["em"], series=number)
            for number, s in enumerate(summaries)
            for value, member in s.by[group].items()
            if "em" in member.means
        ]
        if len(rows) > len(summaries):
            plots.append(bars(f"EM by {group.replace('_', ' ')}", rows))
    return plots


def _sources(run: Run) -> list[str]:
    """EM of the cases that had an item of each source in their prompt."""
    groups: dict[str, list[float]] = {}
    for record in _good(run):
        if "em" in record.scores:
            for source in {item.source for item in record.items} or {"no context"}:
                groups.setdefault(source, []).append(record.scores["em"])
    if len(groups) < 2:
        return []
    rows = []
    for number, (source, values) in enumerate(sorted(groups.items())):
        interval = mean_interval(values)
        rows.append(Bar(f"{source} (n {len(values)})", interval.mean, interval.low, interval.high, number))
    return [bars("EM by context source in the prompt", rows)]


def _latency(run: Run) -> list[str]:
    records = [record for record in _good(run) if record.total_ms]
    if not records:
        return []
    stages = [("total", [r.total_ms for r in records]), ("prefill", [r.prefill_ms for r in records])]
    stages.append(("decode", [r.decode_ms for r in records]))
    return [distribution("Time to the answer (dashed: the editor's window)", stages, "ms", EDITOR_WINDOW_MS)]


def _drafting(run: Run) -> list[str]:
    groups: dict[str, list[Record]] = {}
    for record in _good(run):
        if record.forwards:
            groups.setdefault(record.kind, []).append(record)
    rates = {k: sum(r.completion_tokens for r in rs) / sum(r.forwards for r in rs) for k, rs in groups.items()}
    if not rates:
        return []
    rows = [Bar(f"{kind} (n {len(groups[kind])})", rate) for kind, rate in sorted(rates.items())]
    return [bars("Tokens per forward of the model (1 = no draft accepted)", rows, top=max(2.0, *rates.values()))]


def _budget(run: Run) -> list[str]:
    """EM against the size of the prompt: five groups of equal size."""
    scored = sorted((r.prompt_tokens, r.scores["em"]) for r in _good(run) if "em" in r.scores and r.prompt_tokens)
    if len(scored) < 10:
        return []
    size = -(-len(scored) // 5)
    chunks = [scored[start : start + size] for start in range(0, len(scored), size)]
    points = tuple((sum(t for t, _ in c) / len(c), sum(em for _, em in c) / len(c)) for c in chunks)
    return [curve("EM against prompt tokens", [Series("EM", points)], "prompt tokens", "EM %")]


def _table(summary: Summary) -> str:
    names = list(summary.overall.means)
    rows = [
        _row(
            "all", summary.overall.n, [f"{i.mean:.1f} [{i.low:.1f}, {i.high:.1f}]" for i in summary.intervals.values()]
        )
    ]
    for group, members in summary.by.items():
        for value, member in members.items():
            cells = [f"{member.means[name]:.1f}" if name in member.means else "–" for name in names]
            rows.append(_row(f"{group} {value}", member.n, cells))
    head = "".join(f"<th>{escape(name)}</th>" for name in (f"context {summary.context}", "n", *names))
    note = f'<p class="soft">{summary.errors} cases could not be run.</p>' if summary.errors else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{note}"


def _row(label: str, n: int, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in (label, str(n), *cells)) + "</tr>"


def _misses(run: Run) -> str:
    """The first cases that were not exact, to read."""
    missed = [record for record in _good(run) if record.scores.get("em", 100.0) < 100][:_SHOWN_MISSES]
    entries = "".join(
        f"<details><summary>{escape(r.id)} · {escape(r.kind)} · {escape(r.finish)}</summary>"
        f"<pre>{escape(r.target)}</pre><p class='soft'>was answered with</p><pre>{escape(r.shown)}</pre></details>"
        for r in missed
    )
    return f"<h3>Not exact</h3>{entries}" if entries else ""


def _between(runs: Sequence[Run]) -> str:
    """Every later run of a suite against the first one of it, paired."""
    first: dict[str, Run] = {}
    rows = []
    for run in runs:
        base = first.setdefault(run.header.suite, run)
        if base is run:
            continue
        for name, d in pair(base.records, run.records).items():
            i = d.difference
            label = f"{run.header.suite} {name}: {_name(run)} against {_name(base)}"
            cells = [
                f"{d.a:.1f}",
                f"{d.b:.1f}",
                f"{i.mean:+.1f} [{i.low:+.1f}, {i.high:+.1f}]",
                f"+{d.gained} −{d.lost}",
            ]
            rows.append(_row(label, d.n, cells))
    head = "".join(f"<th>{name}</th>" for name in ("measure", "n", "A", "B", "difference", "cases"))
    return f"<h2>Paired</h2><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>" if rows else ""


def _name(run: Run) -> str:
    return f"{run.header.model}, context {run.header.context}"


def _good(run: Run) -> list[Record]:
    return [record for record in run.records if not record.error]
