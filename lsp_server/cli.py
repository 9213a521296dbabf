"""``holefill``: a command is one row of the ``holefill.commands`` entry points (pyproject.toml).

Commands are imported when named, so ``holefill serve`` loads neither torch nor the evaluation layer, and this layer
need not import the layers above it.
"""

from __future__ import annotations

import importlib.metadata
import os

import click

GROUP = "holefill.commands"


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(importlib.metadata.entry_points(group=GROUP).names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        # Waiting threads spin briefly, then sleep; read when OpenMP loads. One step of the 0.5B, 2 Zen 5 cores, median
        # of 40: 15.6 ms (default 15.9, sleeping at once 21.1), beside two busy processes 30.6 (sleeping at once 20.1),
        # where the default's long spinning costs up to twenty times.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        for entry in importlib.metadata.entry_points(group=GROUP, name=cmd_name):
            command = entry.load()
            assert isinstance(command, click.Command)
            return command
        return None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="holefill")
def main() -> None:
    """Repository-aware code completion with a local model."""
