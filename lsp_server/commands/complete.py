"""``holefill complete FILE:LINE:COL``: one suggestion, shown in its place, with what it was made from."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holefill.lsp_server.completion import CompleterOptions, Completion, Reason
from holefill.lsp_server.receipts import EXPLANATIONS, listed, markdown, named
from holefill.model.shipped import adapter_options, served_adapter

if TYPE_CHECKING:
    from holefill.context.items import Cursor
    from holefill.lsp_server.one_shot import Shot

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "warehouse"
EXAMPLE_HOLE = "hold = warehouse."
LINES_AROUND = 8


@click.command(short_help="Complete one hole of a file and show it in place.")
@click.argument("location", required=False, metavar="FILE:LINE:COL")
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Name, GGUF file or model folder.")
@adapter_options
@click.option(
    "--context",
    type=click.Choice(["on", "off"]),
    default="off",
    show_default=True,
    help="Repository context in the prompt.",
)
@click.option("--max-tokens", default=64, show_default=True, type=click.IntRange(1, 512), help="Length limit.")
@click.option("--explain", is_flag=True, help="Also print the receipt: scores, tokens, what was left out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
@click.option(
    "--example",
    is_flag=True,
    help="Complete the example workspace, whose answer is in its other file.",
)
def complete(
    location: str | None,
    model: str,
    adapter: Path | None,
    no_adapter: bool,
    context: str,
    max_tokens: int,
    explain: bool,
    as_json: bool,
    example: bool,
) -> None:
    """Complete the hole at FILE:LINE:COL (both count from 1) and show the file with the suggestion in place."""
    from holefill.context.errors import ContextError
    from holefill.lsp_server.one_shot import shoot
    from holefill.model.errors import ModelError

    chosen = served_adapter(model, adapter, no_adapter)
    cursor = _example() if example else _cursor(location)
    try:
        with click.progressbar(length=100, label="preparing the model", show_eta=False, file=sys.stderr) as bar:
            options = CompleterOptions(max_new_tokens=max_tokens)
            shot = shoot(
                cursor, model, context == "on", options, lambda _, done: bar.update(int(100 * done) - bar.pos), chosen
            )
    except (ModelError, ContextError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(_as_json(shot)))
    else:
        _show(shot)
        if explain:
            click.echo("\n" + markdown(shot.completion))
    if shot.completion.reason is Reason.ENGINE_ERROR:
        raise click.ClickException(shot.completion.receipt.note)


def _example() -> Cursor:
    file = EXAMPLE / "checkout.py"
    if not file.is_file():
        raise click.ClickException("the example comes with the repository, not with the package: clone it")
    return _read(file, *_position_after(file.read_text("utf-8"), EXAMPLE_HOLE), EXAMPLE)


def _position_after(text: str, mark: str) -> tuple[int, int]:
    before = text[: text.index(mark) + len(mark)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _cursor(location: str | None) -> Cursor:
    match = re.fullmatch(r"(.+):(\d+):(\d+)", location or "")
    if match is None:
        raise click.UsageError("say where: FILE:LINE:COL, both counted from 1 (or --example)")
    return _read(Path(match[1]), int(match[2]), int(match[3]))


def _read(file: Path, line: int, column: int, root: Path | None = None) -> Cursor:
    from holefill.lsp_server.one_shot import read_cursor

    try:
        cursor = read_cursor(file, line, column, root)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read: {error.strerror or error}") from error
    if cursor.offset < 0:  # said before a model is loaded for it
        lines = cursor.text.count("\n") + 1
        raise click.ClickException(f"{file} has {lines} lines, counted from 1, and no column {column} in line {line}")
    return cursor


def _show(shot: Shot) -> None:
    completion = shot.completion
    click.echo(click.style(_relative(shot.cursor), bold=True))
    if completion.text:
        click.echo(in_place(shot.cursor, completion, click.style(completion.text, fg="black", bg="green")))
        click.echo(f"\nsuggestion: {completion.text!r}" if "\n" not in completion.text else "")
    else:
        click.echo(f"no suggestion: {EXPLANATIONS[completion.reason]} {completion.receipt.note}".rstrip())
    items = completion.receipt.pack.items
    if completion.receipt.names:
        click.echo(f"what can stand here: {listed(completion.receipt.names)}")
    click.echo("context: " + ("; ".join(named(item) for item in items) if items else "none beyond the file itself"))
    click.echo("times: " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in times(shot).items()))


def times(shot: Shot) -> dict[str, float]:
    """Stages in the order in which they happen; prefill and decode are the parts of generate."""
    stages = {"load": shot.load_ms, "index": shot.index_ms}
    for name, ms in shot.completion.receipt.stage_ms.items():
        stages[name] = ms
        if name == "generate":
            stages["· prefill"] = shot.completion.receipt.timing.prefill_ms
            stages["· decode"] = shot.completion.receipt.timing.decode_ms
    return stages


def in_place(cursor: Cursor, completion: Completion, shown: str) -> str:
    """Numbered lines around the hole; without colours the suggestion stands between ⟦ and ⟧."""
    before, after = cursor.prefix, cursor.suffix
    first = max(0, before.count("\n") - LINES_AROUND)
    head = "\n".join(before.split("\n")[first:])
    tail = "\n".join(after.split("\n")[: LINES_AROUND + 1])
    lines = f"{head}⟦{shown}⟧{tail}".split("\n")
    return "\n".join(f"{number:5} │ {line}" for number, line in enumerate(lines, start=first + 1))


def _relative(cursor: Cursor) -> str:
    path = Path(cursor.path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else cursor.path


def _as_json(shot: Shot) -> dict[str, object]:
    completion, receipt = shot.completion, shot.completion.receipt
    return {
        "file": shot.cursor.path,
        "text": completion.text,
        "reason": completion.reason.value,
        "context": [{"source": item.source, "name": named(item), "score": item.score} for item in receipt.pack.items],
        "prompt_tokens": receipt.prompt_tokens,
        "finish": None if receipt.finish is None else receipt.finish.value,
        "mean_logprob": receipt.mean_logprob,
        "timing": asdict(receipt.timing),
        "ms": {name.strip("· "): round(ms, 1) for name, ms in times(shot).items()},
        "note": receipt.note,
    }
