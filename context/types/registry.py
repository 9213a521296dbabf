"""One ``TypedHoles``, and so one set of checkers, per workspace folder, whoever asks."""

from __future__ import annotations

import threading

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.types.typed_holes import TypedHoles


class HolesRegistry:
    """Any thread may call. Nothing starts before the first question about a language."""

    def __init__(self) -> None:
        self._typescript = ""
        self._holes: dict[WorkspaceIndex, TypedHoles] = {}
        self._lock = threading.Lock()
        self._closed = False

    def of(self, index: WorkspaceIndex) -> TypedHoles:
        with self._lock:
            found = self._holes.get(index)
            if found is None:
                found = self._holes[index] = TypedHoles(index, self._typescript)
                if self._closed:
                    found.close()
            return found

    def release(self, index: WorkspaceIndex) -> None:
        """Ends the checkers of a folder that is gone; asked again, it gets new ones."""
        with self._lock:
            found = self._holes.pop(index, None)
        if found is not None:
            found.close()

    def use_typescript(self, setting: str) -> bool:
        """Which TypeScript 7 from now on (``specs.typescript_spec``); where it is another one, running checkers end and
        new ones start with the next question. Whether it is another one."""
        with self._lock:
            if setting == self._typescript:
                return False
            self._typescript = setting
            ended = list(self._holes.values())
            self._holes.clear()
        for holes in ended:
            holes.close()
        return True

    def all(self) -> tuple[TypedHoles, ...]:
        with self._lock:
            return tuple(self._holes.values())

    def close(self) -> None:
        """For good: a folder that is first asked about later gets no checker."""
        with self._lock:
            self._closed = True
        for holes in self.all():
            holes.close()
