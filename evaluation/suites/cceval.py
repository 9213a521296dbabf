"""CrossCodeEval: tasks with the chunks the benchmark retrieved, and tasks with their whole repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from holefill.evaluation.cases import Case, CaseSet, DataError, Published, Workspace, find_tables, read_rows


@dataclass(frozen=True, slots=True)
class _Chunk:
    retrieved_chunk: str
    filename: str
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class _Chunks:
    text: str = ""
    list: tuple[_Chunk, ...] = ()


@dataclass(frozen=True, slots=True)
class _Metadata:
    task_id: str
    repository: str
    file: str


@dataclass(frozen=True, slots=True)
class _Row:
    prompt: str
    groundtruth: str
    right_context: str
    metadata: _Metadata
    crossfile_context: _Chunks = _Chunks()
    crossfile_context_regenerated: Mapping[str, _Chunks] = field(default_factory=dict)


def load(data: Path, selection: tuple[str, ...], seed: int) -> CaseSet:
    """Tasks of every language; the same task in two tables counts once, the first table (bm25 before openai) wins."""
    cases: dict[str, Case] = {}
    for path in find_tables(data, "cceval_*_rg1_*.jsonl"):
        for case in _cases(path, workspace=None):
            if not selection or case.language in selection:
                cases.setdefault(case.id, case)
    return CaseSet(tuple(cases.values()))


def load_repositories(data: Path, selection: tuple[str, ...], seed: int) -> CaseSet:
    cases: list[Case] = []
    workspaces: dict[str, Workspace] = {}
    for path in find_tables(data, "cceval_fullrepo_*[!s].jsonl"):
        name = path.name.split(".")[0].removeprefix("cceval_fullrepo_")
        if name.endswith("_files") or (selection and name not in selection):
            continue
        workspaces[name] = Workspace(name, find_tables(path.parent, f"cceval_fullrepo_{name}_files.jsonl")[0])
        cases.extend(_cases(path, workspace=name))
    if not cases:
        raise DataError(f"no cceval_fullrepo_* tasks in {data} match {', '.join(selection) or 'anything'}")
    return CaseSet(tuple(cases), workspaces)


def _cases(path: Path, workspace: str | None) -> Iterator[Case]:
    for row in read_rows(path, _Row):
        yield Case(
            id=row.metadata.task_id,
            language=_language(row.metadata),
            path=row.metadata.file,
            prefix=row.prompt,
            target=row.groundtruth,
            suffix=row.right_context,
            kind="statement",
            repo=row.metadata.repository if workspace else "",
            workspace=workspace,
            dropped=(row.metadata.file,),
            cross_file=True,
            published=_published(row),
        )


def _language(metadata: _Metadata) -> str:
    return metadata.task_id.split("/")[0].removeprefix("project_cc_")


def _published(row: _Row) -> Mapping[str, tuple[Published, ...]]:
    sources = {name.removesuffix("_bm25"): chunks for name, chunks in row.crossfile_context_regenerated.items()}
    sources.setdefault("rg1", row.crossfile_context)
    return {
        name: tuple(Published(chunk.retrieved_chunk, chunk.filename, chunk.score) for chunk in chunks.list)
        for name, chunks in sources.items()
        if chunks.list
    }
