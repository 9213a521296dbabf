"""A completion case: a file with a hole, its answer, and the repository around it."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import cattrs
import click

from holefill.evaluation.git import tree_files
from holefill.evaluation.metrics.table import Gold


class DataError(click.ClickException):
    """Evaluation data that is missing or damaged; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Published:
    """A chunk of context that a benchmark ships with a case."""

    text: str
    path: str
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Case:
    id: str
    language: str
    """A key of ``context.syntax.languages.LANGUAGES``."""
    path: str
    """Of the file, relative to its repository."""
    prefix: str
    target: str
    suffix: str
    kind: str = "line"
    repo: str = ""
    workspace: str | None = None
    """Name of the snapshot to put around the file."""
    dropped: tuple[str, ...] = ()
    """Snapshot files that may hold the answer: never on disk, never indexed."""
    cross_file: bool | None = None
    cross_names: tuple[str, ...] = ()
    unseen_names: tuple[str, ...] = ()
    published: Mapping[str, tuple[Published, ...]] = field(default_factory=dict)
    """Context the benchmark ships, by its name (``rg1``, ``oracle``)."""
    test: str = ""
    """Program text that checks the completed file (pass@1)."""
    expected_type: str = ""
    callee: str = ""
    member: str = ""
    length: int | None = None
    """Tokens of context the answer hides in (needle chains)."""

    @property
    def gold(self) -> Gold:
        return Gold(self.target, self.language, self.cross_names, self.unseen_names)

    @property
    def stratum(self) -> str:
        """Samples take these in turn, so that a small sample is balanced."""
        return f"{self.repo}/{self.language}" if self.repo else self.language


@dataclass(frozen=True, slots=True)
class Workspace:
    """A snapshot of a repository: a table of files, texts in memory, or a commit of a git repository."""

    name: str
    source: Path | None = None
    texts: tuple[tuple[str, str], ...] = ()
    repository: Path | None = None
    commit: str = ""

    def files(self) -> tuple[tuple[str, str], ...]:
        """(path, text) of every file."""
        if self.repository is not None:
            return tuple(tree_files(self.repository, self.commit))
        if self.source is None:
            return self.texts
        return tuple((row.path, row.content) for row in read_rows(self.source, _FileRow))


@dataclass(frozen=True, slots=True)
class CaseSet:
    cases: tuple[Case, ...]
    workspaces: Mapping[str, Workspace] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _FileRow:
    path: str
    content: str


Row = TypeVar("Row")
_WORD = re.compile(r"[^\W\d]\w*")


def read_rows(path: Path, row_type: type[Row]) -> Iterator[Row]:
    """Rows of a JSON Lines file (gzip'd or not); fields that ``row_type`` lacks are ignored."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(path, number, line, row_type)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): check --data, or fetch the file again") from error


def _row(path: Path, number: int, line: str, row_type: type[Row]) -> Row:
    try:
        return cattrs.structure(json.loads(line), row_type)
    except (json.JSONDecodeError, cattrs.BaseValidationError) as error:
        reason = "; ".join(cattrs.transform_error(error)) if isinstance(error, cattrs.BaseValidationError) else error
        raise DataError(f"{path}, line {number} is not a {row_type.__name__.strip('_')}: {reason}") from error


def find_tables(data: Path, pattern: str) -> list[Path]:
    """Files of ``data`` that match ``pattern`` (with or without ``.gz``); ``data`` may be such a file itself."""
    if data.is_file():
        return [data]
    found = {
        path.name.removesuffix(".gz"): path for path in sorted(data.glob(pattern)) + sorted(data.glob(pattern + ".gz"))
    }
    if not found:
        raise DataError(
            f"no {pattern}[.gz] in {data}: --data names the folder of the evaluation data, or the file itself"
        )
    return [found[name] for name in sorted(found)]


def write_cases(path: Path, case_set: CaseSet) -> None:
    """Cases and their workspaces as one JSON Lines file; of a git repository only the commit's name is written."""
    with path.open("w", encoding="utf-8") as out:
        for workspace in case_set.workspaces.values():
            stored = workspace if workspace.repository else Workspace(workspace.name, None, workspace.files())
            out.write(json.dumps({"workspace": cattrs.unstructure(stored)}, ensure_ascii=False) + "\n")
        for case in case_set.cases:
            out.write(json.dumps({"case": cattrs.unstructure(case)}, ensure_ascii=False) + "\n")


@dataclass(frozen=True, slots=True)
class _Stored:
    case: Case | None = None
    workspace: Workspace | None = None


def read_cases(path: Path) -> CaseSet:
    """The inverse of ``write_cases``."""
    cases: list[Case] = []
    workspaces: dict[str, Workspace] = {}
    for row in read_rows(path, _Stored):
        if row.case is not None:
            cases.append(row.case)
        if row.workspace is not None:
            workspaces[row.workspace.name] = row.workspace
    return CaseSet(tuple(cases), workspaces)


def half_typed(case: Case, characters: int) -> Case | None:
    """The same hole when ``characters`` (0: all) of the answer's first word are typed.

    None where the word is not longer than that, or nothing is left to complete.
    """
    word = _WORD.search(case.target)
    if word is None or len(word.group()) <= characters:
        return None
    at = word.start() + characters if characters else word.end()
    rest = case.target[at:]
    if not rest.strip():
        return None
    left = set(_WORD.findall(case.target[word.end() :]))
    return replace(
        case,
        prefix=case.prefix + case.target[:at],
        target=rest,
        cross_names=tuple(name for name in case.cross_names if name in left),
        unseen_names=tuple(name for name in case.unseen_names if name in left),
    )


def sample(cases: Sequence[Case], limit: int | None, seed: int) -> tuple[Case, ...]:
    """``limit`` cases, shuffled by ``seed`` and taken from the strata in turn; all of them in their order when None."""
    if limit is None or limit >= len(cases):
        return tuple(cases)
    strata: dict[str, list[Case]] = {}
    for case in _shuffled(cases, seed):
        strata.setdefault(case.stratum, []).append(case)
    turns = [(turn, name, case) for name, members in strata.items() for turn, case in enumerate(members)]
    turns.sort(key=lambda entry: entry[:2])
    return tuple(case for _, _, case in turns[:limit])


def _shuffled(cases: Iterable[Case], seed: int) -> list[Case]:
    order = list(cases)
    random.Random(seed).shuffle(order)
    return order
