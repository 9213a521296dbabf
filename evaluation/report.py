"""Saved runs → one self-contained HTML page: what a person looks at first, then the tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import takewhile

from holefill.evaluation.metrics.bootstrap import Interval
from holefill.evaluation.records import Run
from holefill.evaluation.report_figures import Arm, figures, headline, title_of
from holefill.evaluation.report_speed import Bench, speed_section
from holefill.evaluation.report_style import STYLE
from holefill.evaluation.summary import pair, same_prompts, summarise

_SHOWN_MISSES = 12


def render(runs: Sequence[Run], benches: Sequence[Bench] = ()) -> str:
    suites: dict[str, list[Run]] = {}
    for run in runs:
        suites.setdefault(run.header.suite, []).append(run)
    by_suite = {suite: _arms(of_suite) for suite, of_suite in suites.items()}
    cards = "".join(_cards(suite, arms) for suite, arms in by_suite.items())
    sections = "".join(_section(suite, arms) for suite, arms in by_suite.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>holefill evaluation</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body><h1>holefill evaluation</h1>'
        '<p class="soft">Percentages with 95 % bootstrap intervals over cases. Nothing is loaded from elsewhere.</p>'
        f'<div class="cards">{cards}</div>{sections}{speed_section(benches)}</body></html>'
    )


def _arms(runs: Sequence[Run]) -> list[Arm]:
    """Every context of every run; a run without records has none."""
    found = [(run, context) for run in runs for context in dict.fromkeys(record.context for record in run.records)]
    common = _common({run.header.model for run in runs})
    titles = _titles([_traits(run, context, common) for run, context in found])
    arms = []
    for number, (run, context) in enumerate(found):
        records = tuple(record for record in run.records if record.context == context)
        arms.append(Arm(titles[number], number, run.header, summarise(records, context), records))
    return arms


def _common(models: set[str]) -> str:
    """What the names of several models begin with, through a dash: ``qwen2.5-coder-``."""
    parts = [model.split("-")[:-1] for model in models]
    shared = takewhile(lambda same: len(set(same)) == 1, zip(*parts, strict=False))
    return "".join(f"{same[0]}-" for same in shared) if len(models) > 1 else ""


def _traits(run: Run, context: str, common: str) -> tuple[str, ...]:
    header = run.header
    budget = "" if header.context_tokens is None or context == "off" else f" {header.context_tokens}"
    return header.engine or "holefill", header.model.removeprefix(common), f"context {context}{budget}"


def _titles(traits: Sequence[tuple[str, ...]]) -> list[str]:
    """What tells the arms apart, and no more; the model where nothing does."""
    if not traits:
        return []
    differing = [n for n in range(len(traits[0])) if len({row[n] for row in traits}) > 1] or [1]
    titles = [", ".join(row[n] for n in differing) for row in traits]
    if len(set(titles)) == len(titles):
        return titles
    return [f"{title} #{number + 1}" for number, title in enumerate(titles)]


def _cards(suite: str, arms: Sequence[Arm]) -> str:
    name = headline(arms)
    cards = []
    for arm in arms:
        interval = arm.summary.intervals.get(name or "")
        if interval is not None and name is not None:
            cards.append(
                f'<div class="card c{arm.series % 6}"><span class="soft">{escape(suite)}</span>'
                f'<b>{interval.mean:.1f}</b><span class="range">{escape(title_of(name))} '
                f"[{interval.low:.1f}, {interval.high:.1f}], n {arm.summary.overall.n}</span>"
                f"<span>{escape(arm.title)}</span></div>"
            )
    return "".join(cards)


def _section(suite: str, arms: Sequence[Arm]) -> str:
    headers = [arm.header for arm in arms]
    facts = [*_unique(header.model for header in headers), *_unique(header.device for header in headers)]
    facts += [f"commit {commit or '?'}" for commit in _unique(header.commit for header in headers)]
    facts += _unique(header.note for header in headers if header.note)
    return (
        f"<section><h2>{escape(suite)}</h2><p class='soft'>{escape(' · '.join(facts))}</p>"
        f'<div class="plots">{"".join(figures(arms))}</div>'
        f"{_runs_table(arms)}{_paired_table(arms)}{''.join(_groups_table(arm) for arm in arms)}"
        f"{''.join(_misses(arm) for arm in arms)}</section>"
    )


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _runs_table(arms: Sequence[Arm]) -> str:
    names = list(dict.fromkeys(name for arm in arms for name in arm.summary.intervals))
    rows = []
    for arm in arms:
        s = arm.summary
        cells = [_interval(s.intervals.get(name)) for name in names]
        cells += [_plain(s.latency_ms.get(50)), _plain(s.latency_ms.get(95)), _plain(s.accepted_per_forward, 2)]
        cells += [f"{s.prefilled_tokens:,}" if s.prefilled_tokens else "–", str(s.errors)]
        rows.append(_row(arm.title, s.overall.n, cells))
    return _table(["run", "n", *names, "p50 ms", "p95 ms", "tokens/forward", "prefilled tokens", "broken"], rows)


def _paired_table(arms: Sequence[Arm]) -> str:
    rows = []
    for arm in arms[1:]:
        same, known = same_prompts(arms[0].records, arm.records)
        prompts = f"{same} of {known}" if known else "–"
        for name, d in pair(arms[0].records, arm.records).items():
            cells = [f"{d.a:.1f}", f"{d.b:.1f}", _interval(d.difference, "+"), f"+{d.gained} −{d.lost}", prompts]
            rows.append(_row(f"{name}: {arm.title} against {arms[0].title}", d.n, cells))
    head = ["measure, paired", "n", "A", "B", "difference", "cases", "same prompt ids"]
    return _details("Paired differences", _table(head, rows)) if rows else ""


def _groups_table(arm: Arm) -> str:
    names = list(arm.summary.overall.means)
    rows = [
        _row(
            f"{group} {value}",
            member.n,
            [f"{member.means[name]:.1f}" if name in member.means else "–" for name in names],
        )
        for group, members in arm.summary.by.items()
        for value, member in members.items()
    ]
    tokens = [_row(name, "", [_interval(interval)]) for name, interval in arm.summary.token_intervals.items()]
    more = _table(["class of token, first n tokens", "", "mean"], tokens) if tokens else ""
    return _details(f"Groups of {arm.title}", _table(["group", "n", *names], rows) + more)


def _misses(arm: Arm) -> str:
    """The first cases that were not exact, to read; a run without its texts has none to show."""
    missed = [record for record in arm.good if record.scores.get("em", 100.0) < 100 and record.target]
    entries = "".join(
        f"<details><summary>{escape(r.id)} · {escape(r.kind)} · {escape(r.finish)}</summary>"
        f"<pre>{escape(r.target)}</pre><p class='soft'>was answered with</p><pre>{escape(r.shown)}</pre></details>"
        for r in missed[:_SHOWN_MISSES]
    )
    return _details(f"Not exact: {arm.title}", entries) if entries else ""


def _details(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    columns = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(rows)
    return f'<div class="table"><table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(label: str, n: int | str, cells: Sequence[str]) -> str:
    """``cells`` are HTML."""
    return f"<tr><td>{escape(label)}</td><td>{n}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _interval(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return "–"
    return f"{interval.mean:{sign}.1f} <small>[{interval.low:{sign}.1f}, {interval.high:{sign}.1f}]</small>"


def _plain(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
