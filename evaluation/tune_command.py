"""``holefill eval repo --tune-context``: runs the candidates, prints what each brings, writes the user's policy."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.table import Table

from holefill.context.errors import ContextError
from holefill.context.policy import write_policy
from holefill.evaluation.cases import CaseSet, DataError, sample
from holefill.evaluation.commands import RunOptions, load
from holefill.evaluation.git import git
from holefill.evaluation.metrics.bootstrap import PairedDifference
from holefill.evaluation.records import Record, RunHeader, RunWriter
from holefill.evaluation.runner import System, commit_name
from holefill.evaluation.suites.registry import Suite
from holefill.evaluation.terminal import print_last_line, print_table, progress_bar
from holefill.evaluation.tuning import CANDIDATES, Trial, chosen, run_candidates, trials, trials_json
from holefill.evaluation.workspaces import Workspaces


def tune(suite: Suite, case_set: CaseSet, options: RunOptions, repository: Path, policy_file: Path) -> None:
    """An interrupted run writes no policy: ``--resume`` goes on. Raises ``ClickException`` only."""
    cases = sample(case_set.cases, options.limit, options.seed)
    began = time.monotonic()
    system = load(options)
    workspaces = Workspaces(case_set.workspaces)
    output = (options.output or Path("runs")) / f"tune-context-{Path(options.model).name}-s{options.seed}.jsonl"
    whole = True
    try:
        with RunWriter(output, _header(suite, options, system, repository), options.resume) as writer:
            records = list(writer.done)
            with progress_bar() as bar:
                total = len(cases) * (1 + len(CANDIDATES))
                row = bar.add_task("context policies", total=total, completed=len(records))
                try:
                    for record in run_candidates(suite, system, workspaces, cases, writer.done):
                        writer.add(record)
                        records.append(record)
                        bar.advance(row)
                except KeyboardInterrupt:
                    whole = False
    finally:
        workspaces.close()
        system.close()
    _conclude(records, whole, options, repository, policy_file, output, time.monotonic() - began)


def _conclude(
    records: list[Record],
    whole: bool,
    options: RunOptions,
    repository: Path,
    policy_file: Path,
    output: Path,
    seconds: float,
) -> None:
    tried = trials(records, options.seed)
    broken = sum(bool(record.error) for record in records)
    if not tried and whole:
        raise DataError(f"no case could be run with and without context: their reasons are in {output}")
    policy = chosen(options.model, repository.resolve(), git(repository, "rev-parse", "--short", "HEAD").strip(), tried)
    if not options.as_json:
        print_table(_table(tried))
        if broken:
            click.echo(f"{broken} answers could not be had: their reason is in {output}")
        click.echo(_verdict(whole, policy.figures, bool(policy.providers), policy_file))
    if whole:
        try:
            write_policy(policy_file, policy)
        except ContextError as error:
            raise click.ClickException(str(error)) from error
    print_last_line(
        {"suite": "tune-context", "trials": trials_json(tried), "providers": list(policy.providers),
         "budget_tokens": policy.budget_tokens, "form": policy.form, "figures": policy.figures, "errors": broken,
         "partial": not whole, "policy_file": str(policy_file) if whole else None, "run": str(output),
         "seconds": round(seconds, 1)}
    )  # fmt: skip


def _verdict(whole: bool, figures: str, pays: bool, policy_file: Path) -> str:
    if not whole:
        return "interrupted: no policy was written; --resume goes on"
    return f"{'written' if pays else 'written, without context'}: {policy_file} ({figures})"


def _header(suite: Suite, options: RunOptions, system: System, repository: Path) -> RunHeader:
    return RunHeader(
        suite=suite.name,
        suite_version=suite.version,
        model=system.model or options.model,
        context="tune",
        seed=options.seed,
        limit=options.limit,
        device=system.device,
        commit=commit_name(),
        data=str(repository),
        engine=options.engine_label,
    )


def _table(tried: list[Trial]) -> Table:
    table = Table(title="against no context, same cases; intervals for all candidates together", title_justify="left")
    for column in ("context", "n", "ES", "EM", ""):
        table.add_column(column, justify="left" if column in ("context", "") else "right")
    for trial in tried:
        cells = [_cell(trial.measure), _cell(trial.guard), "pays" if trial.pays else ""]
        table.add_row(trial.candidate.label, str(trial.measure.n), *cells)
    return table


def _cell(difference: PairedDifference) -> str:
    i = difference.difference
    return f"{i.mean:+.1f} [{i.low:+.1f}, {i.high:+.1f}]"
