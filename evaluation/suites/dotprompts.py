"""DotPrompts (monitors4codegen): Java member completion after a dot, inside whole source files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holefill.evaluation.cases import Case, CaseSet, Workspace, find_tables, read_rows


@dataclass(frozen=True, slots=True)
class _Row:
    task_id: str
    repo: str
    file: str
    prompt: str
    groundtruth: str
    right_context: str


def load(data: Path, selection: tuple[str, ...], seed: int) -> CaseSet:
    cases: list[Case] = []
    workspaces: dict[str, Workspace] = {}
    for path in find_tables(data, "dotprompts_*.jsonl"):
        name = path.name.split(".")[0].removeprefix("dotprompts_")
        workspaces[name] = Workspace(name, find_tables(path.parent, f"{name}_files.jsonl")[0])
        cases.extend(_case(row, name) for row in read_rows(path, _Row))
    return CaseSet(tuple(cases), workspaces)


def _case(row: _Row, workspace: str) -> Case:
    return Case(
        id=row.task_id,
        language="java",
        path=row.file,
        prefix=row.prompt,
        target=row.groundtruth,
        suffix=row.right_context,
        kind="member",
        repo=row.repo,
        workspace=workspace,
        dropped=(row.file,),
        cross_file=True,
    )
