"""``holefill serve``: the language server of one editor window, on stdin and stdout."""

from __future__ import annotations

import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path

import click

from holefill.lsp_server.config import Settings, parse_settings

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@click.command()
@click.option("--stdio", is_flag=True, help="Speak over stdin and stdout (the default).")
@click.option("--model", help="A name of `holefill model list`, a GGUF file or a Hugging Face folder.")
@click.option("--engine-url", help="An OpenAI-compatible server to use instead of our own engine.")
@click.option("--engine-token-file", help="File whose first line is the bearer token of --engine-url.")
@click.option("--log-file", type=click.Path(dir_okay=False, path_type=Path), help="Log there instead of to stderr.")
def serve(
    stdio: bool, model: str | None, engine_url: str | None, engine_token_file: str | None, log_file: Path | None
) -> None:
    """Run the language server of one editor window."""
    _log_to(log_file)
    given = {"model": model, "engine_url": engine_url, "engine_token_file": engine_token_file}
    parsed = parse_settings({name: value for name, value in given.items() if value is not None})
    if parsed.problems:
        raise click.UsageError(" ".join(parsed.problems))
    run(parsed.settings)


def run(base: Settings) -> None:
    from holefill.lsp_server.server import create

    if sys.stdin.isatty():
        click.echo(
            "This speaks the language server protocol: your editor starts it (README.md). Ctrl-C ends it.", err=True
        )
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own would wait for the thread that reads stdin
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print anywhere must not break the protocol
    server = create(replace(base))
    try:
        server.start_io(source, sink)
    finally:
        server.stop()


def _log_to(log_file: Path | None) -> None:
    """Warnings by default; pygls logs whole messages, which are the user's code, so it is silenced."""
    try:
        handler = logging.FileHandler(log_file, encoding="utf-8") if log_file else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise click.UsageError(f"--log-file {log_file} cannot be written: {error.strerror}") from error
    logging.basicConfig(level=logging.WARNING, format=FORMAT, handlers=[handler])
    logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)
