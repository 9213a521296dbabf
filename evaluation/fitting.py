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
from holefill.lsp_server.completion import Fit
from holefill.lsp_server.judge import Judge

ALTERNATIVES = 3
_START_MS = 5_000.0
"""For the checker's first answer in a file, which an editor's user has long had by the time of a completion."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """``fit`` None: nothing is switched on and nothing measured."""

    fit: Fit | None = None
    registry: HolesRegistry = field(default_factory=HolesRegistry)

    @property
    def alternatives(self) -> int:
        """Answers beside the first that the judge chooses from: as many as an editor's user gets on request."""
        return ALTERNATIVES if self.fit in (Fit.JUDGE, Fit.ON) else 0

    def judge(self, index: WorkspaceIndex | None) -> Judge | None:
        if index is None or self.fit in (None, Fit.OFF):
            return None
        return Judge(lambda _: index, self.registry, repair=self.fit is Fit.ON)

    @contextmanager
    def around(
        self, index: WorkspaceIndex | None, cursor: Cursor, dropped: Sequence[str]
    ) -> Iterator[TypedHoles | None]:
        """The checkers of one case, which see its files as they are meanwhile; None where nobody asks them."""
        if index is None or self.fit is None:
            yield None
            return
        holes = self.registry.of(index)
        changed = [str(index.root / path) for path in dropped]
        for path in changed:
            holes.changed_on_disk(path)
        holes.sync(cursor.path, cursor.text, cursor.language)
        Judge(lambda _: index, self.registry).prepare(cursor, Deadline.after_ms(_START_MS))
        try:
            yield holes
        finally:
            for path in (*changed, cursor.path):
                holes.changed_on_disk(path)

    def close(self) -> None:
        self.registry.close()
