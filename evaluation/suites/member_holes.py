"""Members behind a dot, to the end of their line, in the Python files of the replay repositories (DotPrompts' way)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from holefill.evaluation.cases import Case, CaseSet, DataError, Workspace, find_tables
from holefill.evaluation.member_places import places_of

PER_FILE = 4


def load(data: Path, selection: tuple[str, ...], seed: int) -> CaseSet:
    """``selection`` names repositories; none means all of them that have Python."""
    tables = {path.name.split("_files.")[0]: path for path in find_tables(data, "*_files.jsonl")}
    if unknown := set(selection) - set(tables):
        raise DataError(f"no {', '.join(sorted(unknown))} in {data}: it has {', '.join(tables)}")
    workspaces = {name: Workspace(name, tables[name]) for name in selection or tables}
    cases = tuple(case for name, workspace in workspaces.items() for case in _cases(name, workspace))
    return CaseSet(cases, {name: workspaces[name] for name in dict.fromkeys(case.repo for case in cases)})


def _cases(repository: str, workspace: Workspace) -> Iterator[Case]:
    for path, text in workspace.files():
        places = places_of(text) if path.endswith(".py") else []
        for place in random.Random(path).sample(places, min(PER_FILE, len(places))):
            prefix, target, suffix = place.around(text)
            yield Case(
                id=f"{repository}/{path}:{place.line + 1}:{place.column}",
                language="python",
                path=path,
                prefix=prefix,
                target=target,
                suffix=suffix,
                kind="member",
                repo=repository,
                workspace=repository,
                member=place.member,
            )
