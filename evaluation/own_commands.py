"""Commands beside the suites: your own repository, typed holes by the oracle, keystroke latency."""

from __future__ import annotations

import time
from pathlib import Path

import click

from holefill.evaluation.cases import CaseSet, DataError, read_cases, sample, write_cases
from holefill.evaluation.commands import RunOptions, load, run_options, run_suite
from holefill.evaluation.latency import Key, cancel_delays, cancel_json, latency_json, replay_keys
from holefill.evaluation.records import Record, RunHeader, RunWriter, read_run
from holefill.evaluation.report import render
from holefill.evaluation.repository import make_cases
from holefill.evaluation.runner import commit_name, cpu_name
from holefill.evaluation.suites.loaders import LOADERS
from holefill.evaluation.suites.registry import load_suites
from holefill.evaluation.summary import last_line, summarise
from holefill.evaluation.terminal import print_last_line, print_summary, progress_bar
from holefill.evaluation.tune_command import tune
from holefill.evaluation.typed_holes import ask_oracle
from holefill.evaluation.workspaces import Workspaces
from holefill.lsp_server.connect import user_policy_file

_DATA = click.Path(exists=True, path_type=Path)
_REPO = load_suites()["repo"]
_TYPED = load_suites()["typed-holes"]


@click.command(name="repo", short_help=_REPO.title)
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path())
@click.option("--since", metavar="REV", help="Make cases from the commits after this one.  [default: the last 200]")
@click.option(
    "--cases", "count", default=50, show_default=True, type=click.IntRange(min=1), help="How many cases to make."
)
@click.option("--save-cases", type=click.Path(dir_okay=False, path_type=Path), help="Write the cases as JSON Lines.")
@click.option("--read-cases", "saved", type=_DATA, help="Run cases written before instead of making them.")
@click.option("--only-cases", is_flag=True, help="Make (and save) the cases, run nothing.")
@click.option(
    "--tune-context", is_flag=True, help="Try the context policies and write the one that pays to your own policies."
)
@click.option(
    "--policy-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where --tune-context writes.  [default: policy.toml in holefill's configuration folder]",
)
@run_options(_REPO)
def repo(
    path: Path,
    since: str | None,
    count: int,
    save_cases: Path | None,
    saved: Path | None,
    only_cases: bool,
    tune_context: bool,
    policy_file: Path | None,
    **given: object,
) -> None:
    """Measure holefill on your own repository, from its git history. No code leaves this machine."""
    options = RunOptions(**given)  # type: ignore[arg-type]  # click has checked every value
    case_set = read_cases(saved) if saved is not None else make_cases(path, since or _recent(path), count, options.seed)
    if saved is None and len(case_set.cases) < count:
        click.echo(f"the history gives {len(case_set.cases)} cases: an older --since gives more", err=True)
    if save_cases is not None:
        write_cases(save_cases, case_set)
    if only_cases:
        for case in case_set.cases:
            click.echo(f"{case.kind:9} {'cross-file' if case.cross_file else '':10} {case.id}")
    elif tune_context:
        tune(_REPO, case_set, options, path, policy_file or user_policy_file())
    else:
        run = run_suite(_REPO, case_set, options, str(path))
        page = run.with_suffix(".html")
        page.write_text(render([read_run(run)]), encoding="utf-8")
        click.echo(f"to look at: {page}", err=True)


def _recent(path: Path) -> str:
    from holefill.evaluation.git import git

    count = int(git(path, "rev-list", "--count", "--first-parent", "HEAD"))
    return f"HEAD~{min(200, count - 1)}"


@click.command(name="typed-holes", short_help=_TYPED.title)
@click.option("--data", type=_DATA, required=True, help="Folder of the evaluation data, or the table itself.")
@click.option("--repos", default="", metavar="NAME,…", help="Only these repositories.")
@click.option("--complete", is_flag=True, help="Let the model fill the holes too (EM, ES, NIM).")
@run_options(_TYPED)
def typed_holes(data: Path, repos: str, complete: bool, **given: object) -> None:
    """Typed holes: is the expected type named, the callee among 8 headers, the member among the first 10?"""
    options = RunOptions(**given)  # type: ignore[arg-type]
    case_set = LOADERS[_TYPED.loader](data, tuple(name for name in repos.split(",") if name), options.seed)
    if complete:
        run_suite(_TYPED, case_set, options, str(data))
    else:
        _ask(case_set, options, str(data))


def _ask(case_set: CaseSet, options: RunOptions, data: str) -> None:
    cases = sample(case_set.cases, options.limit, options.seed)
    began = time.monotonic()
    header = RunHeader(
        _TYPED.name, _TYPED.version, "type oracle", "oracle", options.seed, options.limit, cpu_name(), commit_name(),
        data=data,
    )  # fmt: skip
    path = (options.output or Path("runs")) / f"typed-holes-oracle-s{options.seed}.jsonl"
    records: list[Record] = []
    workspaces = Workspaces(case_set.workspaces)
    try:
        with RunWriter(path, header, resume=False) as writer, progress_bar() as bar:
            for record in bar.track(ask_oracle(cases, workspaces), total=len(cases), description=_TYPED.name):
                writer.add(record)
                records.append(record)
    except KeyboardInterrupt:
        click.echo("interrupted: what follows covers the cases reached", err=True)
    finally:
        workspaces.close()
    summary = summarise(records, "oracle", options.seed)
    if not options.as_json:
        print_summary(header, summary)
    print_last_line(last_line(header, summary, time.monotonic() - began) | {"run": str(path)})


@click.command(short_help="Replay keystrokes and time the answers.")
@click.option("--data", type=_DATA, required=True, help="Folder with replay sets.")
@click.option("--repos", default="", metavar="NAME,…", help="Only these repositories.")
@click.option("--keys", default=20, show_default=True, type=click.IntRange(min=1), help="Keystrokes per case.")
@click.option("--idle", is_flag=True, help="Between keys there is time to compute the likely next prompt ahead.")
@run_options(load_suites()["replay"])
def latency(data: Path, repos: str, keys: int, idle: bool, **given: object) -> None:
    """Replay keystrokes: p50 and p95, share answered within the editor's window, tokens prefilled per key."""
    options = RunOptions(**given)  # type: ignore[arg-type]
    case_set = LOADERS["replay"](data, tuple(name for name in repos.split(",") if name), options.seed)
    cases = sample(case_set.cases, options.limit or 10, options.seed)
    if not cases:
        raise DataError("no case matches: look at --repos and --data")
    began = time.monotonic()
    system = load(options)
    pressed: list[Key] = []
    cancelled = cancel_json([])
    total = sum(min(keys, len(case.target)) + 1 for case in cases)
    try:
        with progress_bar() as bar:
            replayed = replay_keys(system, cases, keys, options.as_in_an_editor, idle=idle)
            pressed.extend(bar.track(replayed, total=total, description="keystrokes"))
        cancelled = cancel_json(cancel_delays(system, cases, options.as_in_an_editor))
    except KeyboardInterrupt:
        click.echo("interrupted: what follows covers the keys pressed", err=True)
    finally:
        system.close()
    result = latency_json(pressed) | cancelled
    if not options.as_json:
        for name, value in result.items():
            click.echo(f"{name:18} {value}")
    print_last_line(
        {"suite": "latency", "n": len(cases), "metrics": result, "model": system.model, "device": system.device,
         "commit": commit_name(), "seconds": round(time.monotonic() - began, 1)}
    )  # fmt: skip
