"""``holefill eval``: one command per suite, generated from the suites' TOML, and tools for saved runs."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import click

from holefill.context.errors import ContextError
from holefill.context.forms import FORMS
from holefill.evaluation.arms import ARMS, GROUPS, arm_named
from holefill.evaluation.cases import Case, CaseSet, DataError, half_typed, sample
from holefill.evaluation.evaluate import evaluate as evaluate_tasks
from holefill.evaluation.evaluate import tasks_of
from holefill.evaluation.records import Record, RunHeader, RunWriter
from holefill.evaluation.runner import (
    HOLEFILL,
    LLAMA_CPP,
    PUBLISHED,
    EngineUnderTest,
    System,
    commit_name,
    load_system,
    model_sha256,
)
from holefill.evaluation.sandbox import network_note
from holefill.evaluation.suites.loaders import LOADERS
from holefill.evaluation.suites.registry import PromptPolicy, Suite, load_suites
from holefill.evaluation.summary import last_line, pair, paired_json, summarise
from holefill.evaluation.terminal import print_last_line, print_paired, print_summary, progress_bar
from holefill.evaluation.workspaces import Workspaces
from holefill.lsp_server.completion import CompleterOptions, Fit
from holefill.model.errors import ModelError
from holefill.model.shipped import adapter_options, served_adapter

_NOT_IN_NAMES = re.compile(r"[^\w.]+")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The command line of a suite, parsed."""

    limit: int | None
    seed: int
    model: str
    context: str
    engine_url: str | None
    output: Path | None
    as_json: bool
    resume: bool
    engine: str = HOLEFILL
    context_tokens: int | None = None
    token_ranks: bool = False
    providers: str = ""
    form: str | None = None
    fit: str | None = None
    adapter: Path | None = None
    no_adapter: bool = False
    cross_file: bool = False
    no_stop_rule: bool = False
    no_heal: bool = False
    prefix_tokens: int | None = None
    suffix_tokens: int | None = None
    typed: int | None = None

    def policy(self, usual: PromptPolicy) -> PromptPolicy:
        """The suite's, where the command line says nothing else."""
        given = {name: getattr(self, name) for name in ("context_tokens", "prefix_tokens", "suffix_tokens")}
        changed = replace(usual, **{name: tokens for name, tokens in given.items() if tokens is not None})
        stop_rule, heal = usual.stop_rule and not self.no_stop_rule, usual.heal and not self.no_heal
        return replace(changed, stop_rule=stop_rule, heal=heal)

    @property
    def as_in_an_editor(self) -> CompleterOptions:
        """What a server has, where the command line says nothing else."""
        usual = CompleterOptions()
        return CompleterOptions(
            prefix_tokens=usual.prefix_tokens if self.prefix_tokens is None else self.prefix_tokens,
            suffix_tokens=usual.suffix_tokens if self.suffix_tokens is None else self.suffix_tokens,
            heal=not self.no_heal,
            fit=self.level or usual.fit,
        )

    @property
    def note(self) -> str:
        """What of the product is not as it comes."""
        unusual = ["without the product's stop rule"] if self.no_stop_rule else []
        unusual += ["half-typed words left in the prompt"] if self.no_heal else []
        unusual += [] if self.typed is None else [f"{self.typed or 'all'} characters of the first word typed"]
        sizes = ((self.prefix_tokens, "before"), (self.suffix_tokens, "after"))
        unusual += [f"{tokens} tokens {side} the hole" for tokens, side in sizes if tokens is not None]
        return ", ".join(unusual)

    @property
    def served(self) -> Path | None:
        """The adapter that computes: what an editor would be served with, unless another engine is measured."""
        foreign = self.engine != HOLEFILL or self.engine_url is not None
        return self.adapter if foreign else served_adapter(self.model, self.adapter, self.no_adapter)

    @property
    def arms(self) -> tuple[str, ...]:
        """What is compared, the first with each of the others; ``--providers`` and ``--form`` say what "on" is."""
        given = "+".join(self.providers.split(",")) or "+".join(ARMS["on"].providers)
        own = f"{given}:{self.form}" if self.form else given
        changed = bool(self.providers or self.form)
        names = [arm for name in self.context.split(",") for arm in GROUPS.get(name, (name,))]
        return tuple(dict.fromkeys(own if changed and name == "on" else name for name in names))

    @property
    def level(self) -> Fit | None:
        return None if self.fit is None else Fit(self.fit)

    @property
    def under_test(self) -> EngineUnderTest:
        return EngineUnderTest(self.model, self.engine, self.engine_url, self.token_ranks, self.served, self.level)

    @property
    def engine_label(self) -> str:
        """Empty for our own engine in this process without an adapter."""
        own = "" if self.served is None else f"adapter {self.served.stem}"
        return self.engine_url or (own if self.engine == HOLEFILL else self.engine)


def run_suite(suite: Suite, case_set: CaseSet, options: RunOptions, data: str) -> Path:
    """Runs, saves (in the file it returns) and prints; Ctrl-C ends the run early and still prints what there is."""
    suite = replace(suite, prompt=options.policy(suite.prompt))
    wanted = [case for case in case_set.cases if case.cross_file or not options.cross_file]
    if options.typed is not None:
        wanted = [half for case in wanted if (half := half_typed(case, options.typed)) is not None]
    cases = sample(wanted, options.limit, options.seed)
    if not cases:
        raise DataError("no case matches: look at --repos, --cross-file, --typed and --data")
    if suite.execute and network_note():
        click.echo(f"note: {network_note()}", err=True)
    began = time.monotonic()
    system = load(options)
    workspaces = Workspaces(case_set.workspaces)
    header = _header(suite, options, system, data)
    path = _output(suite, options)
    try:
        with RunWriter(path, header, options.resume) as writer:
            records, whole = _run(suite, system, workspaces, writer, cases, options)
    finally:
        workspaces.close()
        system.close()
    _print(header, records, path, options, time.monotonic() - began, whole)
    return path


def _run(
    suite: Suite,
    system: System,
    workspaces: Workspaces,
    writer: RunWriter,
    cases: tuple[Case, ...],
    options: RunOptions,
) -> tuple[list[Record], bool]:
    """Records of this and the resumed run, and whether every case was reached."""
    tasks = tasks_of(cases, options.arms)
    wanted = {(task.case.id, task.context) for task in tasks}
    records = [record for record in writer.done if (record.id, record.context) in wanted]
    finished = {(record.id, record.context) for record in records}
    left = [task for task in tasks if (task.case.id, task.context) not in finished]
    with progress_bar() as bar:
        row = bar.add_task(suite.name, total=len(tasks), completed=len(records))
        try:
            for record in evaluate_tasks(suite, system, workspaces, left):
                writer.add(record)
                records.append(record)
                bar.advance(row)
        except KeyboardInterrupt:
            return records, False
    return records, True


def _print(
    header: RunHeader, records: list[Record], path: Path, options: RunOptions, seconds: float, whole: bool
) -> None:
    summaries = [summarise(records, context, options.seed) for context in options.arms]
    result = last_line(header, summaries[-1], seconds)
    result["partial"] = not whole
    result["run"] = str(path)
    if len(summaries) > 1:
        split = [[record for record in records if record.context == s.context] for s in summaries]
        differences = {s.context: pair(split[0], own, options.seed) for s, own in zip(summaries, split, strict=True)}
        del differences[summaries[0].context]
        result["arms"] = {s.context: s.overall.as_json() for s in summaries}
        result["paired"] = paired_json(differences[summaries[1].context])
        result["paired_with"] = {name: paired_json(found) for name, found in differences.items()}
    if not options.as_json:
        for summary in summaries:
            print_summary(header, summary)
        for summary in summaries[1:]:
            print_paired(summaries[0].context, summary.context, differences[summary.context])
        click.echo(f"every case: {path}" + ("" if whole else "  (interrupted: --resume goes on)"))
    print_last_line(result)


def _context(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    for name in value.split(","):
        if name not in (*GROUPS, *PUBLISHED, "off"):
            arm_named(name)
    return value


def _providers(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if value:
        arm_named("+".join(value.split(",")))
    return value


def load(options: RunOptions) -> System:
    try:
        with progress_bar() as bar:
            row = bar.add_task("loading the model", total=100)
            return load_system(options.under_test, lambda _, share: bar.update(row, completed=int(100 * share)))
    except (ModelError, ContextError) as error:
        raise click.ClickException(str(error)) from error


def _header(suite: Suite, options: RunOptions, system: System, data: str) -> RunHeader:
    return RunHeader(
        suite=suite.name,
        suite_version=suite.version,
        model=system.model or options.model,
        context=options.context,
        seed=options.seed,
        limit=options.limit,
        device=system.device,
        commit=commit_name(),
        model_sha256=model_sha256(options.model),
        data=data,
        engine=options.engine_label,
        context_tokens=options.context_tokens,
        note=options.note,
    )


def _output(suite: Suite, options: RunOptions) -> Path:
    folder = options.output or Path("runs")
    budget = "" if options.context_tokens is None else f"{options.context_tokens}"
    context = _NOT_IN_NAMES.sub("_", "-".join(filter(None, (options.context, options.providers, options.form))))
    parts = [suite.name, Path(options.model).name, f"{context}{budget}", f"s{options.seed}"]
    parts += ["cross_file"] if options.cross_file else []
    parts += [] if options.limit is None else [f"n{options.limit}"]
    parts += ["no-stop-rule"] if options.no_stop_rule else []
    parts += ["no-heal"] if options.no_heal else []
    parts += [] if options.typed is None else [f"typed{options.typed}"]
    sizes = (("before", options.prefix_tokens), ("after", options.suffix_tokens))
    parts += [f"{side}{tokens}" for side, tokens in sizes if tokens is not None]
    parts += [] if options.fit is None else [f"fit-{options.fit}"]
    parts += [] if not options.engine_label else [_NOT_IN_NAMES.sub("_", options.engine_label)]
    return folder / f"{'-'.join(parts)}.jsonl"


def run_options(suite: Suite) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """The options every suite shares, with the suite's own defaults."""
    options = [
        click.option("--limit", type=click.IntRange(min=1), help="Run this many cases, balanced, drawn by --seed."),
        click.option("--cross-file", is_flag=True, help="Only cases whose answer uses a name of another file."),
        click.option("--seed", default=0, show_default=True, help="Of the sample and the intervals."),
        click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Name, GGUF file or folder."),
        click.option(
            "--context",
            metavar="NAME,…",
            callback=_context,
            default=suite.default_context,
            show_default=True,
            help="Repository context in the prompt: off, on, both (paired); rg1, oracle: chunks a benchmark published; "
            "add-one-in, leave-one-out, forms; any arm of evaluation/arms.py. Several are paired with the first.",
        ),
        click.option(
            "--providers", metavar="NAME,…", default="", callback=_providers, help="What stands in the prompt as `on`."
        ),
        click.option("--form", type=click.Choice(list(FORMS)), help="Where it stands there."),
        click.option(
            "--context-tokens",
            type=click.IntRange(min=0),
            help="Budget of repository context, instead of the suite's.",
        ),
        click.option(
            "--prefix-tokens",
            type=click.IntRange(min=1),
            help="Text before the hole, not the suite's; a judge reads 1200.",
        ),
        click.option(
            "--suffix-tokens",
            type=click.IntRange(min=0),
            help="Text after the hole, not the suite's; a judge reads 256.",
        ),
        click.option(
            "--engine",
            type=click.Choice((HOLEFILL, LLAMA_CPP)),
            default=HOLEFILL,
            show_default=True,
            help="Who computes; llama.cpp runs the same GGUF file on the same prompt ids.",
        ),
        adapter_options,
        click.option(
            "--fit",
            type=click.Choice([level.value for level in Fit]),
            help="How suggestions are made to fit their place, and the share of invented names.  [default: masks]",
        ),
        click.option(
            "--no-stop-rule", is_flag=True, help="Only the model's own stop and the token limit end an answer."
        ),
        click.option("--no-heal", is_flag=True, help="Leave half-typed words in the prompt (no token healing)."),
        click.option(
            "--typed",
            type=click.IntRange(min=0),
            help="The cursor stands so many characters into the answer's first word (0: at its end); shorter words are "
            "left out.",
        ),
        click.option("--token-ranks", is_flag=True, help="MRR@10 by class of token too (twice the work; own engine)."),
        click.option("--engine-url", help="An engine or OpenAI-compatible server; --model then names its tokenizer."),
        click.option(
            "--output",
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder for the run's JSONL file.  [default: runs]",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the last line only."),
        click.option("--resume", is_flag=True, help="Go on with the saved run of the same settings."),
    ]

    def add(command: click.decorators.FC) -> click.decorators.FC:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def suite_command(suite: Suite) -> click.Command:
    def run(data: Path | None, repos: str, **given: object) -> None:
        names = tuple(name for name in repos.split(",") if name)
        options = RunOptions(**given)  # type: ignore[arg-type]  # click has checked every value
        case_set = LOADERS[suite.loader](data or Path(), names, options.seed)
        run_suite(suite, case_set, options, str(data or ""))

    run = run_options(suite)(run)
    run = click.option(
        "--repos", default="", metavar="NAME,…", help="Only these repositories, languages or kinds of the suite."
    )(run)
    run = click.option(
        "--data",
        type=click.Path(exists=True, path_type=Path),
        required=suite.needs_data,
        help="Folder of the evaluation data, or one of its files.",
    )(run)
    return click.command(name=suite.name, help=suite.title + ".", short_help=suite.title)(run)


class EvaluateGroup(click.Group):
    """Suites come from their TOML files; the other commands by name, imported when used."""

    _others: ClassVar[dict[str, str]] = {
        "compare": "compare",
        "show": "saved_runs",
        "report": "saved_runs",
        "slim": "saved_runs",
        "repo": "own_commands",
        "typed-holes": "own_commands",
        "latency": "own_commands",
        "gather": "gather_latency",
        "members": "member_recall",
        "check": "candidate_check",
        "constraints": "constraints",
        "mask-cost": "mask_cost",
        "alternatives": "alternatives",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*load_suites(), *self._others})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (module := self._others.get(cmd_name)) is not None:
            command = getattr(importlib.import_module(f"holefill.evaluation.{module}"), cmd_name.replace("-", "_"))
            assert isinstance(command, click.Command)
            return command
        suite = load_suites().get(cmd_name)
        return None if suite is None else suite_command(suite)


@click.group(
    cls=EvaluateGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    short_help="Measure completions on benchmarks or your repository.",
)
def evaluate() -> None:
    """Measure completions: public benchmarks, commit replay, your own repository.

    Every suite ends in one line of JSON; percentages are 0–100 and come with 95 % intervals.
    """
