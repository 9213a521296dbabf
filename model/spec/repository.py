"""Repositories as an engine holds them: token ids by file, and suffix arrays over them for the automaton drafter."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from holefill.model.repository import FileText, RepositoryReply, RepositoryUpdate
from holefill.model.spec.suffix_array import SuffixArray

MAX_TOKENS = 4_000_000
"""Of all repositories together, 12 bytes each; the least recently used repository leaves first."""
FRESH_TOKENS = 50_000
"""Changed files have an array of their own up to this size, so that an edit does not sort everything again."""

Ids = npt.NDArray[np.int32]


@dataclass(slots=True)
class _Repository:
    digests: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, Ids] = field(default_factory=dict)
    sorted_digests: frozenset[str] = frozenset()
    """What ``base`` was made of."""
    base: SuffixArray | None = None
    fresh: SuffixArray | None = None
    stale: bool = False
    """``base`` holds text that was to be forgotten."""

    def size(self) -> int:
        return sum(len(ids) for ids in self.tokens.values())


class RepositoryStore:
    """Written by one thread at a time, read by the engine's thread at any moment without waiting."""

    def __init__(self, encode: Callable[[str], list[int]], max_tokens: int = MAX_TOKENS) -> None:
        self._encode = encode
        self._max_tokens = max_tokens
        self._writing = threading.Lock()
        self._repositories: OrderedDict[str, _Repository] = OrderedDict()
        self._arrays: dict[str, tuple[SuffixArray, ...]] = {}

    def arrays(self, repository: str) -> tuple[SuffixArray, ...]:
        """Recently changed files first."""
        return self._arrays.get(repository, ())

    def tokens(self) -> int:
        return sum(held.size() for held in self._repositories.values())

    def sync(self, update: RepositoryUpdate) -> RepositoryReply:
        """Sorts once all texts are there (0.5 s per million tokens), in the caller's thread."""
        with self._writing:
            held = self._repositories.get(update.repository)
            if held is None:
                if not update.whole:
                    return RepositoryReply(known=False)
                held = self._repositories[update.repository] = _Repository()
            self._repositories.move_to_end(update.repository)
            self._apply(held, update)
            self._take(held, update.texts)
            missing = tuple(dict.fromkeys(d for d in held.digests.values() if d not in held.tokens))
            if not missing:
                _sort(held)
            elif held.stale:
                held.base = held.fresh = None
            self._arrays[update.repository] = tuple(part for part in (held.fresh, held.base) if part is not None)
            return RepositoryReply(known=True, missing=missing)

    def index(self, repository: str, documents: Sequence[Sequence[int]]) -> None:
        """Token ids in place of texts, at once."""
        with self._writing:
            self._arrays[repository] = (SuffixArray(documents),)

    def clear(self) -> None:
        with self._writing:
            self._repositories.clear()
            self._arrays.clear()

    def _apply(self, held: _Repository, update: RepositoryUpdate) -> None:
        new = {file.path: file.digest for file in update.files}
        gone = [path for path in held.digests if path not in new] if update.whole else update.removed
        for path in gone:
            held.stale |= held.digests.pop(path, None) is not None
        held.stale |= update.whole and any(held.digests.get(path, digest) != digest for path, digest in new.items())
        held.digests |= new
        used = set(held.digests.values())
        for digest in [digest for digest in held.tokens if digest not in used]:
            del held.tokens[digest]

    def _take(self, held: _Repository, texts: Sequence[FileText]) -> None:
        """Text past the limit counts as empty: a repository that large is drafted from in part."""
        used = set(held.digests.values())
        room = self._max_tokens - held.size()
        for file in texts:
            if file.digest in used and file.digest not in held.tokens:
                ids = self._encode(file.text) if room > 0 else []
                held.tokens[file.digest] = np.asarray(ids[: max(room, 0)], np.int32)
                room -= len(ids)
        while len(self._repositories) > 1 and self.tokens() > self._max_tokens:
            key, _ = self._repositories.popitem(last=False)
            self._arrays.pop(key, None)


def _sort(held: _Repository) -> None:
    """Everything when text was forgotten or much is new; only what changed otherwise."""
    wanted = frozenset(digest for digest in held.digests.values() if len(held.tokens[digest]))
    changed = sorted(wanted - held.sorted_digests)
    much = sum(len(held.tokens[digest]) for digest in changed) > FRESH_TOKENS
    if held.base is None or held.stale or much:
        held.base = SuffixArray([held.tokens[digest] for digest in sorted(wanted)]) if wanted else None
        held.fresh, held.sorted_digests, held.stale = None, wanted, False
    else:
        held.fresh = SuffixArray([held.tokens[digest] for digest in changed]) if changed else None
