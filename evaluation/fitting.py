"""What ``--fit`` switches: how much is done so that a suggestion fits, and the checkers that judge it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import Cursor
from holefill.context.provider import Deadline
from holefill.context.types.registry import HolesRegistry
from holefill.context.types.typed_holes import TypedHoles
from holefill.lsp_server.completion import CompleterOptions, Fit
from holefill.lsp_server.judge import Judge

_START_MS = 5_000.0
"""For the checker's first answer in a file, which an editor's user has long had by the time of a completion."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """``fit`` None: what the product does by default, and nothing is measured."""

    fit: Fit | None = None
    registry: HolesRegistry = field(default_factory=HolesRegistry)

    @property
    def level(self) -> Fit:
        return self.level_of(masks=True)

    def level_of(self, masks: bool) -> Fit:
        """``masks``: whether they can hold in the suite's files."""
        return self.fit or (CompleterOptions().fit if masks else Fit.OFF)

    def judge(self, index: WorkspaceIndex | None) -> Judge | None:
        if index is None or self.level is Fit.OFF:
            return None
        return Judge(lambda _: index, self.registry, repair=self.level is Fit.ON)

    @contextmanager
    def around(
        self, index: WorkspaceIndex | None, cursor: Cursor, dropped: Sequence[str]
    ) -> Iterator[TypedHoles | None]:
        """The checkers of one case, which see its files as they are meanwhile; None where nothing is measured."""
        if index is None or (self.fit is None and self.level is Fit.OFF):
            yield None
            return
        holes = self.registry.of(index)
        changed = [str(index.root / path) for path in dropped]
        for path in changed:
            holes.changed_on_disk(path)
        holes.sync(cursor.path, cursor.text, cursor.language)
        holes.layer(cursor.language).ready(_START_MS / 1000)
        if self.fit is not None:
            Judge(lambda _: index, self.registry).prepare(cursor, Deadline.after_ms(_START_MS))
        try:
            yield None if self.fit is None else holes
        finally:
            for path in (*changed, cursor.path):
                holes.changed_on_disk(path)

    def close(self) -> None:
        self.registry.close()
