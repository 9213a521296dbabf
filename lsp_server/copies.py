"""No long copies of what the model was trained on, unless the user's own repository has that text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import Cursor
from holefill.model.copies import Fingerprints, copies_beside, squeezed
from holefill.model.shipped import shipped_adapter

IndexOf = Callable[[str | None], WorkspaceIndex | None]
SEARCH_S = 0.05
"""For the repository's files, which are read only when an answer was recognised. What was not found in time is not
the user's."""


class CopyGuard:
    """Thread-safe: it changes nothing."""

    def __init__(self, fingerprints: Fingerprints, index_of: IndexOf = lambda root: None) -> None:
        self._fingerprints = fingerprints
        self._index_of = index_of

    def refuses(self, text: str, cursor: Cursor) -> bool:
        """Whether ``text`` has a run or word of the training text that is not in the user's file or repository."""
        found = self._fingerprints.found(text)
        return bool(found) and not _all_stand(found, self._users_texts(cursor))

    def _users_texts(self, cursor: Cursor) -> Iterator[str]:
        yield cursor.text
        index = self._index_of(cursor.root)
        until = time.perf_counter() + SEARCH_S
        for path in index.paths() if index is not None else ():
            if time.perf_counter() >= until:
                return
            yield index.text(path) or "" if index is not None else ""


def learned_text(adapter: Path | None, model: str) -> Fingerprints | None:
    """Of what the adapter that serves was trained on, by the file beside it. A tuned one learned the user's own text;
    what it stands on, the one that comes with the model, did not. Raises ModelError."""
    return None if adapter is None else copies_beside(adapter) or copies_beside(shipped_adapter(model))


def copy_guard(adapter: Path | None, model: str, index_of: IndexOf = lambda root: None) -> CopyGuard | None:
    fingerprints = learned_text(adapter, model)
    return None if fingerprints is None else CopyGuard(fingerprints, index_of)


def _all_stand(wanted: Iterable[str], texts: Iterable[str]) -> bool:
    missing = set(wanted)
    for text in texts:
        here = squeezed(text)
        missing = {piece for piece in missing if piece not in here}
        if not missing:
            return True
    return False
