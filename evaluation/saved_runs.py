"""Commands on saved runs: compare two, show one case, make the report."""

from __future__ import annotations

from pathlib import Path

import click

from holefill.evaluation.cases import DataError
from holefill.evaluation.records import Record, Run, read_run, write_slim
from holefill.evaluation.report import render
from holefill.evaluation.report_speed import read_benches
from holefill.evaluation.summary import pair, paired_json, same_prompts
from holefill.evaluation.terminal import print_last_line, print_paired

_RUN = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("a", type=_RUN)
@click.argument("b", type=_RUN)
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print the last line only.")
def compare(a: Path, b: Path, seed: int, as_json: bool) -> None:
    """Compare two saved runs, case by case: B against A, with the interval of every difference."""
    left, right = read_run(a), read_run(b)
    if left.header.suite != right.header.suite:
        raise DataError(f"{a} is a run of {left.header.suite}, {b} one of {right.header.suite}: compare like with like")
    differences = pair(_last_arm(left), _last_arm(right), seed)
    if not differences:
        raise DataError("the runs have no case in common: run both with the same --limit and --seed")
    same, known = same_prompts(_last_arm(left), _last_arm(right))
    if not as_json:
        print_paired(_label(left), _label(right), differences)
        if known:
            click.echo(f"prompts of the same token ids: {same} of {known}")
    print_last_line(
        {"suite": left.header.suite, "a": str(a), "b": str(b), "n": max(d.n for d in differences.values()),
         "paired": paired_json(differences), "same_prompts": {"n": known, "same": same}}
    )  # fmt: skip


def _last_arm(run: Run) -> tuple[Record, ...]:
    """Of a run with two arms, the one with context on."""
    wanted = "on" if run.header.context == "both" else run.header.context
    arms = {record.context for record in run.records}
    return tuple(record for record in run.records if record.context == wanted or len(arms) == 1)


def _label(run: Run) -> str:
    return " ".join(part for part in (run.header.title, run.header.commit) if part)


@click.command()
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


@click.command()
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


@click.command()
@click.argument("run", type=_RUN)
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--note", default="", help="What a reader of the numbers must know; the report shows it.")
def slim(run: Path, output: Path, note: str) -> None:
    """Copy a run without a word of the benchmark: scores, counts and times, small enough to commit."""
    write_slim(read_run(run), output, note)
    click.echo(output)
