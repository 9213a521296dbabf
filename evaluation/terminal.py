"""What a run prints: progress with time left on stderr, tables and one JSON line on stdout."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from holefill.evaluation.metrics.bootstrap import PairedDifference
from holefill.evaluation.metrics.table import LOWER_IS_BETTER
from holefill.evaluation.records import RunHeader
from holefill.evaluation.summary import GroupSummary, Summary


def progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def print_summary(header: RunHeader, summary: Summary) -> None:
    engine = header.engine or "holefill"
    title = f"{header.suite} · {engine} · {header.model} · context {summary.context} · {header.device}"
    table = Table(title=title, title_justify="left")
    names = list(summary.overall.means)
    for column in ("", "n", *names):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("all", str(summary.overall.n), *(_with_interval(summary, name) for name in names))
    for group, members in summary.by.items():
        if len(members) > 1:
            table.add_section()
            for value, member in members.items():
                table.add_row(f"{group} {value}", str(member.n), *_cells(member, names))
    _out().print(table)
    if summary.token_intervals:
        _out().print(_token_table(summary))
    click.echo(_speed_line(summary))
    if summary.errors:
        click.echo(f"{summary.errors} cases could not be run: their reason is in the saved run (`holefill eval show`)")


def _token_table(summary: Summary) -> Table:
    """Measures down, classes and lengths across."""
    cells = {tuple(name.split("/", 1)): interval for name, interval in summary.token_intervals.items()}
    columns = list(dict.fromkeys(column for _, column in cells))
    table = Table(title="by class of token, and of the first n tokens", title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for measure in dict.fromkeys(measure for measure, _ in cells):
        found = [cells.get((measure, column)) for column in columns]
        table.add_row(measure, *("–" if i is None else f"{i.mean:.1f}" for i in found))
    return table


def _speed_line(summary: Summary) -> str:
    parts = [f"p{percent} {ms:.0f} ms" for percent, ms in summary.latency_ms.items()]
    parts += [] if summary.accepted_per_forward is None else [f"MAT {summary.accepted_per_forward:.2f}"]
    parts += [f"{name} {share:.0f} % of tokens" for name, share in summary.accepted_by_drafter.items()]
    parts.append(f"prefilled {summary.prefilled_tokens} of {summary.prompt_tokens} prompt tokens")
    return " · ".join(parts)


def print_paired(a: str, b: str, differences: Mapping[str, PairedDifference]) -> None:
    table = Table(title=f"{b} against {a}, same cases, 95 % interval of the difference", title_justify="left")
    for column in ("measure", "n", a, b, "difference", "interval", "+", "−", ""):
        table.add_column(column, justify="left" if column in ("measure", "") else "right")
    for name, d in differences.items():
        interval = d.difference
        wins = (interval.mean > 0) != (name in LOWER_IS_BETTER)
        verdict = "" if not interval.excludes_zero() else ("better" if wins else "worse")
        table.add_row(
            name, str(d.n), f"{d.a:.1f}", f"{d.b:.1f}", f"{interval.mean:+.1f}",
            f"[{interval.low:+.1f}, {interval.high:+.1f}]", str(d.gained), str(d.lost), verdict,
        )  # fmt: skip
    _out().print(table)


def print_table(table: Table) -> None:
    _out().print(table)


def print_last_line(value: Mapping[str, object]) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def _out() -> Console:
    """Wide enough for a table also where stdout is a file."""
    console = Console(markup=False)
    return console if console.is_terminal else Console(width=230, markup=False)


def _with_interval(summary: Summary, name: str) -> str:
    interval = summary.intervals[name]
    return f"{interval.mean:.1f} [{interval.low:.1f}, {interval.high:.1f}]"


def _cells(group: GroupSummary, names: list[str]) -> list[str]:
    return [f"{group.means[name]:.1f}" if name in group.means else "–" for name in names]
