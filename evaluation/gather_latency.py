"""``holefill eval gather``: how long a keystroke's context takes in a large workspace, once everything is warm.

Cursors stand at the ends of half lines of real files, drawn by seed; the first of each file, untimed, is its opening in
an editor. Each of the others is one keystroke that asks for one thing, because what a second question about the same
keystroke shares with the first costs it nothing. No model: the engine's time is another command's (``eval latency``).
"""

from __future__ import annotations

import random
import shutil
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import click

from holefill.context.gather import Gatherer
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.policy import ASKED_FOR
from holefill.context.provider import Deadline, Preparing
from holefill.context.providers import Sources, providers
from holefill.evaluation.cases import DataError
from holefill.evaluation.metrics.latency import percentile
from holefill.evaluation.runner import commit_name, cpu_name
from holefill.evaluation.terminal import print_last_line, progress_bar
from holefill.lsp_server.chat_lsp import ChatLsp
from holefill.lsp_server.completion import CompleterOptions
from holefill.lsp_server.session import Document
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer

ASKED = (
    "gather",
    "gather.deadline",
    "expectedType",
    "relevantTypes",
    "relevantHeaders",
    "llmCompletion.context",
    "errorReport",
)
_BUDGET_TOKENS = 400
_NO_DEADLINE_MS = 60_000.0
_CURSORS_PER_FILE = 5
_MIN_LINES, _MAX_CHARS = 20, 200_000
_LIBRARY = "library"
"""Folder for Python's own files. At the root they would be the workspace's own `abc` and `functools`: no project has
them, and ty, which builds on these, would look at everything again after a key (80 ms, one question in ten)."""


@dataclass(frozen=True, slots=True)
class Timed:
    name: str
    ms: float
    cpu_ms: float
    """Of all threads of this process; the type checkers are processes of their own."""


def workspace_of(given: Path | None, files: int, seed: int, target: Path) -> int:
    """Copy so many Python files, drawn by seed, with their places; returns how many there were.

    Without a folder they are those of Python's own library.
    """
    folder = given or Path(sysconfig.get_paths()["stdlib"])
    top = target if given else target / _LIBRARY
    found = sorted(path for path in folder.rglob("*.py") if "site-packages" not in path.relative_to(folder).parts)
    for path in random.Random(seed).sample(found, min(files, len(found))):
        place = top / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return min(files, len(found))


def cursors(index: WorkspaceIndex, count: int, seed: int) -> Iterator[tuple[Cursor, bool]]:
    """(cursor, timed): runs of a few per file, the first of each untimed."""
    draw = random.Random(seed)
    paths = list(index.paths())
    draw.shuffle(paths)
    given = 0
    for path in paths:
        text = index.text(path) or ""
        lines = [number for number, line in enumerate(text.splitlines()) if len(line.strip()) > 3]
        if len(lines) < _MIN_LINES or len(text) > _MAX_CHARS:
            continue
        for number, line in enumerate(draw.sample(lines, 1 + _CURSORS_PER_FILE)):
            yield _typing(index, path, text, line, draw, number), number > 0
            given += number > 0
            if given == count:
                return


def _typing(index: WorkspaceIndex, path: str, text: str, line: int, draw: random.Random, version: int) -> Cursor:
    """Half of a line is there, the rest is not."""
    lines = text.splitlines(keepends=True)
    own = lines[line].rstrip("\r\n")
    bare = len(own) - len(own.lstrip())
    column = draw.randint(bare + 1, len(own) - 1)
    before = "".join(lines[:line]) + own[:column]
    after = lines[line][len(own) :] + "".join(lines[line + 1 :])
    return Cursor(
        str(index.root / path), before + after, CharOffset(len(before)), "python", str(index.root), version=version
    )


def timings(
    index: WorkspaceIndex, tokenizer: Tokenizer, asked: Sequence[tuple[Cursor, bool]]
) -> Iterator[Timed | None]:
    """Per timed cursor the next of ``ASKED``: the whole gather, packing included, without a deadline and with the
    product's; or a ChatLSP method's answer.
    """
    chat = ChatLsp(lambda _: index)
    known = providers(Sources(index, chat.holes.of(index)))
    gather = Gatherer([one for one in known if one.name in ASKED_FOR], tokenizer)
    for provider in known:
        if isinstance(provider, Preparing):
            provider.prepare(asked[0][0])
    try:
        names = cycle(ASKED)
        for cursor, timed in asked:
            index.update(cursor.path, cursor.text)
            shown = (Document(cursor.path, "python", "python", cursor.version, cursor.text),)
            if timed:
                name = next(names)
                yield _timed(name, _works(gather, chat, cursor, shown)[name])
            else:
                # Opened in an editor: as it is on disk, and typing starts once the product has prepared for it.
                chat.prepare(replace(cursor, text=Path(cursor.path).read_text("utf-8", "replace")))
                yield None
    finally:
        gather.close()
        chat.close()


def _works(
    gather: Gatherer, chat: ChatLsp, cursor: Cursor, shown: tuple[Document, ...]
) -> dict[str, Callable[[], object]]:
    return {
        "gather": lambda: gather(cursor, _BUDGET_TOKENS, Deadline.after_ms(_NO_DEADLINE_MS)),
        "gather.deadline": lambda: gather(cursor, _BUDGET_TOKENS, Deadline.after_ms(CompleterOptions().gather_ms)),
        "expectedType": lambda: chat.expected(cursor, shown),
        "relevantTypes": lambda: chat.types(cursor, shown),
        "relevantHeaders": lambda: chat.headers(cursor, shown),
        "llmCompletion.context": lambda: chat.summary(cursor, shown),
        "errorReport": lambda: chat.report(cursor, "value"),
    }


def _timed(name: str, work: Callable[[], object]) -> Timed:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return Timed(name, (time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000)


def summary(measured: Sequence[Timed]) -> dict[str, dict[str, float]]:
    by_name: dict[str, list[Timed]] = {}
    for one in measured:
        by_name.setdefault(one.name, []).append(one)
    return {
        name: {
            "n": len(ones),
            "p50_ms": round(percentile([one.ms for one in ones], 50), 1),
            "p95_ms": round(percentile([one.ms for one in ones], 95), 1),
            "cpu_p50_ms": round(percentile([one.cpu_ms for one in ones], 50), 1),
        }
        for name, ones in by_name.items()
    }


@click.command(short_help="Time a keystroke's whole context.")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--files", default=1000, show_default=True, type=click.IntRange(min=1), help="Python files to take.")
@click.option(
    "--cursors",
    "count",
    default=100,
    show_default=True,
    type=click.IntRange(min=1),
    help="Keystrokes of each question.",
)
@click.option("--seed", default=0, show_default=True, help="Of the files and the cursors.")
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Whose tokenizer prices the context.")
def gather(path: Path | None, files: int, count: int, seed: int, model: str) -> None:
    """Time a keystroke's whole context, and each ChatLSP method, in a workspace of 1,000 files.

    PATH gives the files; without it they are Python's own library.
    """
    tokenizer = Tokenizer.load(ModelStore.default().resolve(model))
    measured: list[Timed] = []
    with tempfile.TemporaryDirectory(prefix="holefill-gather-") as folder:
        taken = workspace_of(path, files, seed, Path(folder))
        index = WorkspaceIndex(folder)
        with progress_bar() as bar:
            row = bar.add_task("indexing", total=taken)
            index.refresh(lambda done, total: bar.update(row, completed=done, total=total))
            asked = list(cursors(index, count * len(ASKED), seed))
            if not asked:
                raise DataError("no Python file of 20 lines or more: give another PATH")
            try:
                for found in bar.track(timings(index, tokenizer, asked), total=len(asked), description="cursors"):
                    measured += [] if found is None else [found]
            except KeyboardInterrupt:
                click.echo("interrupted: what follows covers the cursors reached", err=True)
    print_last_line(
        {"suite": "gather", "files": taken, "metrics": summary(measured), "device": cpu_name(), "commit": commit_name()}
    )
