"""Commit replay and typed holes: a file with a hole inside a snapshot of its repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from holefill.evaluation.cases import Case, CaseSet, DataError, Workspace, find_tables, read_cases, read_rows


@dataclass(frozen=True, slots=True)
class _ReplayRow:
    id: str
    repo: str
    lang: str
    path: str
    prefix: str
    target: str
    suffix: str
    kind: str
    base_path: str | None = None
    cross_file: bool = False
    identifiers_cross: tuple[str, ...] = ()
    identifiers_unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _TypedRow:
    id: str
    repo: str
    path: str
    prefix: str
    target: str
    suffix: str
    kind: str
    expected_type: str
    callee: str | None = None
    member: str | None = None
    defined_elsewhere: bool = False


def load(data: Path, selection: tuple[str, ...], seed: int) -> CaseSet:
    """``selection`` names repositories (``llm``, ``click``); none means all of the folder."""
    tables = {path.name.split("_cases.")[0]: path for path in find_tables(data, "*_cases.jsonl")}
    if unknown := set(selection) - set(tables):
        raise DataError(f"no {', '.join(sorted(unknown))} in {data}: it has {', '.join(tables)}")
    names = list(selection) or list(tables)
    cases = [case for name in names for case in _replay_cases(tables[name], name)]
    return CaseSet(tuple(cases), _snapshots(tables[names[0]].parent, names))


def _replay_cases(path: Path, workspace: str) -> Iterator[Case]:
    for row in read_rows(path, _ReplayRow):
        yield Case(
            id=row.id,
            language=_file_language(row.lang, row.path),
            path=row.path,
            prefix=row.prefix,
            target=row.target,
            suffix=row.suffix,
            kind=row.kind,
            repo=row.repo,
            workspace=workspace,
            dropped=(row.base_path,) if row.base_path else (),
            cross_file=row.cross_file,
            cross_names=row.identifiers_cross,
            unseen_names=row.identifiers_unseen,
        )


def _file_language(language: str, path: str) -> str:
    return "tsx" if language == "typescript" and path.endswith(".tsx") else language


def load_typed_holes(data: Path, selection: tuple[str, ...], seed: int) -> CaseSet:
    tables = find_tables(data, "typed_holes_*.jsonl")
    cases = [case for path in tables for case in _typed_cases(path) if not selection or case.workspace in selection]
    return CaseSet(tuple(cases), _snapshots(tables[0].parent, sorted({str(case.workspace) for case in cases})))


def _typed_cases(path: Path) -> Iterator[Case]:
    language = path.name.split(".")[0].removeprefix("typed_holes_")
    for row in read_rows(path, _TypedRow):
        yield Case(
            id=row.id,
            language=language,
            path=row.path,
            prefix=row.prefix,
            target=row.target,
            suffix=row.suffix,
            kind=row.kind,
            repo=row.repo,
            workspace=row.repo.rsplit("/", 1)[-1],
            dropped=(row.path,),
            cross_file=row.defined_elsewhere,
            expected_type=row.expected_type,
            callee=row.callee or "",
            member=row.member or "",
        )


def _snapshots(folder: Path, names: list[str]) -> Mapping[str, Workspace]:
    return {name: Workspace(name, find_tables(folder, f"{name}_files.jsonl")[0]) for name in names}


def load_cases(data: Path, selection: tuple[str, ...], seed: int) -> CaseSet:
    """Cases that ``holefill eval repo`` wrote."""
    return read_cases(data)
