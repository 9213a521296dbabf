"""Snapshots on disk while their cases run: the file with the hole in place, the files that hold the answer gone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from holefill.context.index.workspace import WorkspaceIndex
from holefill.evaluation.cases import Case, DataError, Workspace


class Workspaces:
    """Materialises each snapshot once, in a temporary folder; one case at a time changes it and puts it back."""

    def __init__(self, workspaces: Mapping[str, Workspace]) -> None:
        self._workspaces = workspaces
        self._folder = tempfile.TemporaryDirectory(prefix="holefill-eval-")
        self._indexes: dict[str, WorkspaceIndex] = {}

    def close(self) -> None:
        self._folder.cleanup()

    @contextmanager
    def around(self, case: Case) -> Iterator[WorkspaceIndex | None]:
        """The index of the case's repository as its author saw it; None for a case without a repository."""
        if case.workspace is None:
            yield None
            return
        index = self._index(case.workspace)
        hidden = [path for path in {*case.dropped, case.path} if (index.root / path).is_file()]
        kept = {path: (index.root / path).read_text("utf-8") for path in hidden}
        try:
            for path in hidden:
                (index.root / path).unlink()
            _write(index.root, case.path, case.prefix + case.suffix)
            index.reload([*hidden, case.path])
            yield index
        finally:
            (index.root / case.path).unlink(missing_ok=True)
            for path, text in kept.items():
                _write(index.root, path, text)
            index.reload([*hidden, case.path])

    def _index(self, name: str) -> WorkspaceIndex:
        if name not in self._indexes:
            root = Path(self._folder.name) / name
            root.mkdir()
            for path, text in self._workspaces[name].files():
                _write(root, path, text)
            index = WorkspaceIndex(root)
            index.refresh()
            self._indexes[name] = index
        return self._indexes[name]


def _write(root: Path, path: str, text: str) -> None:
    file = (root / path).resolve()
    if not file.is_relative_to(root.resolve()):
        raise DataError(f"{path} leaves its workspace: this snapshot is not to be trusted")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
