"""Commands on saved runs: show one case, make the report, make a copy to commit."""

from __future__ import annotations

from pathlib import Path

import click

from holefill.evaluation.cases import DataError
from holefill.evaluation.records import Record, read_run, write_slim
from holefill.evaluation.report import render
from holefill.evaluation.report_speed import read_benches

_RUN = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Show one case of a saved run.")
@click.argument("identity", metavar="ID")
@click.option("--run", "path", type=_RUN, required=True, help="A saved run.")
def show(identity: str, path: Path) -> None:
    """Show one case of a saved run: prompt, context, output, what the user saw, score. ID may be its end."""
    records = [record for record in read_run(path).records if record.id == identity or record.id.endswith(identity)]
    if not records:
        raise DataError(f"{path} has no case {identity}")
    for record in records:
        _show(record)


def _show(record: Record) -> None:
    click.secho(f"{record.id}  ({record.language}, {record.kind}, context {record.context})", bold=True)
    if record.error:
        click.echo(f"could not be run: {record.error}")
        return
    if record.prompt:
        click.secho("── prompt", dim=True)
        click.echo(record.prompt)
    for item in record.items:
        click.secho(f"── context from {item.source}: {', '.join(item.paths)}", dim=True)
        click.echo(item.text)
    for title, text in (("target", record.target), ("shown", record.shown), ("generated", record.generated)):
        click.secho(f"── {title}", dim=True)
        click.echo(text)
    click.secho("── score", dim=True)
    click.echo(", ".join(f"{name} {value:.0f}" for name, value in record.scores.items()))
    click.echo(
        f"{record.reason}, ended by {record.finish or 'nothing'}; prompt {record.prompt_tokens} tokens, of which "
        f"{record.cached_tokens} were cached; {record.completion_tokens} tokens in {record.forwards} forwards; "
        f"{record.total_ms:.0f} ms"
    )


@click.command(short_help="Write one HTML page about saved runs.")
@click.argument("runs", nargs=-1, required=True, type=_RUN)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The page to write.",
)
def report(runs: tuple[Path, ...], output: Path) -> None:
    """Write one HTML page about saved runs and `holefill bench` lines: plots and tables, no network needed."""
    benches = [bench for path in runs for bench in read_benches(path)]
    saved = [read_run(path) for path in runs if not read_benches(path)]
    output.write_text(render(saved, benches), encoding="utf-8")
    click.echo(output)


@click.command(short_help="Copy a run without a word of the benchmark.")
@click.argument("run", type=_RUN)
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--note", default="", help="What a reader of the numbers must know; the report shows it.")
def slim(run: Path, output: Path, note: str) -> None:
    """Copy a run without a word of the benchmark: scores, counts and times, small enough to commit."""
    write_slim(read_run(run), output, note)
    click.echo(output)
