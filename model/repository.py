"""Text of a user's repositories for the engine to draft from: what travels, and how only changed files do.

It shapes drafts, never answers, and stays in the engine's memory as token ids. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

BATCH_CHARS = 1_000_000
"""Text of one message: an engine answers it within a fraction of a second."""


@dataclass(frozen=True, slots=True)
class FileDigest:
    path: str
    digest: str
    """Names the content; equal digests mean equal texts."""


@dataclass(frozen=True, slots=True)
class FileText:
    digest: str
    text: str
    """Without secrets: the sender overwrites them."""


@dataclass(frozen=True, slots=True)
class RepositoryUpdate:
    """First the digests; then, where the engine asks for them, texts in further messages."""

    repository: str
    """Key of the repository, as in ``GenerateRequest.repository``."""
    files: tuple[FileDigest, ...] = ()
    removed: tuple[str, ...] = ()
    texts: tuple[FileText, ...] = ()
    whole: bool = False
    """``files`` are all there are: anything else is forgotten at once."""


@dataclass(frozen=True, slots=True)
class RepositoryReply:
    known: bool
    """False: the engine does not hold this repository (any more): send it whole."""
    missing: tuple[str, ...] = ()
    """Digests whose texts it wants."""


@runtime_checkable
class RepositoryBackend(Protocol):
    """A ``Backend`` in this process or on this machine that can draft from repositories."""

    @property
    def takes_repositories(self) -> bool:
        """False where text would leave the machine, or where nobody drafts."""
        ...

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        """Raises ``model.errors.EngineError``."""
        ...


@dataclass(frozen=True, slots=True)
class SourceText:
    """One file: its digest now, its text when it is asked for (None: gone meanwhile)."""

    path: str
    digest: str
    read: Callable[[], str | None]


def send_repository(backend: RepositoryBackend, repository: str, files: Sequence[SourceText]) -> None:
    """Makes the engine's copy equal to ``files``. Raises ``EngineError``."""
    digests = tuple(FileDigest(file.path, file.digest) for file in files)
    reply = backend.sync_repository(RepositoryUpdate(repository, digests, whole=True))
    _send_texts(backend, repository, files, reply)


def send_changes(
    backend: RepositoryBackend, repository: str, files: Sequence[SourceText], removed: Sequence[str]
) -> bool:
    """Of a repository sent before. False: the engine lost it, send it whole. Raises ``EngineError``."""
    digests = tuple(FileDigest(file.path, file.digest) for file in files)
    reply = backend.sync_repository(RepositoryUpdate(repository, digests, tuple(removed)))
    if reply.known:
        _send_texts(backend, repository, files, reply)
    return reply.known


def _send_texts(
    backend: RepositoryBackend, repository: str, files: Sequence[SourceText], reply: RepositoryReply
) -> None:
    missing = set(reply.missing)
    wanted = {file.digest: file for file in files if file.digest in missing}
    for batch in _batches(wanted.values()):
        backend.sync_repository(RepositoryUpdate(repository, texts=batch))


def _batches(files: Iterable[SourceText]) -> Iterator[tuple[FileText, ...]]:
    """A file that is gone is sent empty, so that it is not asked for again."""
    batch: list[FileText] = []
    size = 0
    for file in files:
        text = file.read() or ""
        batch.append(FileText(file.digest, text))
        size += len(text)
        if size >= BATCH_CHARS:
            yield tuple(batch)
            batch, size = [], 0
    if batch:
        yield tuple(batch)
