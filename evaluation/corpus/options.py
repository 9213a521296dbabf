"""Options that several commands of ``holefill train`` share."""

from __future__ import annotations

from pathlib import Path

import click

data_folder = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
model_option = click.option(
    "--model", default="qwen2.5-coder-0.5b", show_default=True, help="Name, GGUF file or folder."
)
max_tokens_option = click.option(
    "--max-tokens", default=200, show_default=True, type=click.IntRange(min=32), help="Longer ones are left."
)
threads_option = click.option(
    "--threads",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="The result depends on it in its last bits.",
)
seed_option = click.option("--seed", default=0, show_default=True, help="The same gives the same.")


def say(stage: str) -> None:
    """Progress goes to stderr: stdout is for the result's line."""
    click.echo(stage, err=True)
