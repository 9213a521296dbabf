"""``holefill eval members``: after a dot in real code, is the member that stands there offered? (TYPES.md)

Every cursor stands behind a real ``receiver.`` whose line ends there. Members of ``self``, of ``cls`` and of modules
are left out: what answers those needs no types. The package is a workspace of its own; what it imports is not.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.types.typed_holes import TypedHoles
from holefill.evaluation.cases import DataError
from holefill.evaluation.member_places import Place, places_of
from holefill.evaluation.metrics.bootstrap import Interval, mean_interval
from holefill.evaluation.runner import commit_name, cpu_name
from holefill.evaluation.terminal import print_last_line, progress_bar

_PATIENCE_MS = 5_000.0
_SHORT = 20
"""What a list of suggestions shows at once."""


@dataclass(frozen=True, slots=True)
class Offered:
    rank: int | None
    """Of the true member, from 0; None where it is not offered."""
    known: bool
    """Whether a type stands behind the list, instead of names seen after the same word."""


def drawn(folder: Path, count: int, seed: int) -> list[tuple[Path, Place]]:
    """One place a file first, so that no file speaks for the package; files in drawn order."""
    draw = random.Random(seed)
    by_file = [(path, found) for path in sorted(folder.rglob("*.py")) if (found := places_of(_text(path)))]
    for _, found in by_file:
        draw.shuffle(found)
    draw.shuffle(by_file)
    turns = max((len(found) for _, found in by_file), default=0)
    return [(path, found[turn]) for turn in range(turns) for path, found in by_file if turn < len(found)][:count]


def _text(path: Path) -> str:
    """Empty where the file cannot be read as text."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def asked(holes: TypedHoles, index: WorkspaceIndex, places: Sequence[tuple[Path, Place]]) -> Iterator[Offered]:
    for path, place in places:
        before, _, after = place.around(_text(path))
        text = before + after
        cursor = Cursor(str(path), text, CharOffset(len(before)), "python", str(index.root))
        holes.sync(cursor.path, text, "python")
        members = holes.query(cursor, Deadline.after_ms(_PATIENCE_MS)).members
        holes.sync(cursor.path, None, "python")
        names = [member.name for member in members]
        rank = names.index(place.member) if place.member in names else None
        yield Offered(rank, any(member.certain for member in members))


def summary(found: Sequence[Offered]) -> dict[str, object]:
    """Percentages with 95 % intervals."""
    offered = [100.0 * (one.rank is not None) for one in found]
    short = [100.0 * (one.rank is not None and one.rank < _SHORT) for one in found]
    return {
        "n": len(found),
        "recall": _rounded(mean_interval(offered)),
        f"recall_at_{_SHORT}": _rounded(mean_interval(short)),
        "type_known": round(100 * sum(one.known for one in found) / max(len(found), 1), 1),
    }


def _rounded(interval: Interval) -> list[float]:
    return [round(value, 1) for value in (interval.mean, interval.low, interval.high)]


@click.command(short_help="Share of real members offered after their dot.")
@click.argument("package", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--cursors", "count", default=100, show_default=True, type=click.IntRange(min=1), help="Dots to ask at.")
@click.option("--seed", default=0, show_default=True, help="Of the places and the intervals.")
@click.option("--no-checker", is_flag=True, help="Without type checkers: the floor alone.")
def members(package: Path, count: int, seed: int, no_checker: bool) -> None:
    """Share of real members that are offered after their dot, in the Python package in folder PACKAGE."""
    found: list[Offered] = []
    with tempfile.TemporaryDirectory(prefix="holefill-members-") as folder, progress_bar() as bar:
        copy = Path(shutil.copytree(package, Path(folder) / package.resolve().name))
        index = WorkspaceIndex(folder)
        row = bar.add_task("indexing", total=None)
        index.refresh(lambda done, total: bar.update(row, completed=done, total=total))
        places = drawn(copy, count, seed)
        if not places:
            raise DataError(f"no attribute of anything but self and modules in {package}: give another package")
        with closing(TypedHoles(index, checkers=not no_checker)) as holes:
            try:
                found.extend(bar.track(asked(holes, index, places), total=len(places), description="members"))
            except KeyboardInterrupt:
                click.echo("interrupted: what follows covers the places reached", err=True)
    about = {"suite": "members", "package": package.resolve().name, "metrics": summary(found)}
    print_last_line(about | {"device": cpu_name(), "commit": commit_name()})
