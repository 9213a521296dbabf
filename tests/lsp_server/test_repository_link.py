"""What the engine is sent of a workspace: everything once, then changes; no secrets; never to another machine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from holefill.context.index.workspace import WorkspaceIndex
from holefill.lsp_server.indexes import Indexes
from holefill.lsp_server.repository_link import RepositoryLink, send_index
from holefill.model.cancel import CancelToken
from holefill.model.repository import RepositoryReply, RepositoryUpdate
from holefill.model.request import Chunk, GenerateRequest

KEY = "AKIA" + "IOSFODNN7EXAMPLE"


class Silent:
    """An engine that this file asks for no text."""

    model_name = "fake"

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        raise AssertionError("asked for text")

    def close(self) -> None:
        pass


class Engine(Silent):
    """Holds what it is sent, as the engine does."""

    def __init__(self, local: bool = True) -> None:
        self.takes_repositories = local
        self.digests: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.known = False
        self.arrived = threading.Event()

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        if not (self.known or update.whole):
            return RepositoryReply(known=False)
        self.known = True
        if update.whole:
            self.digests.clear()
        self.digests |= {file.path: file.digest for file in update.files}
        for path in update.removed:
            self.digests.pop(path, None)
        self.texts |= {file.digest: file.text for file in update.texts}
        self.arrived.set()
        return RepositoryReply(True, tuple(d for d in self.digests.values() if d not in self.texts))

    def held(self) -> dict[str, str]:
        return {path: self.texts[digest] for path, digest in self.digests.items()}


class Several(Silent):
    """One such engine a repository."""

    takes_repositories = True

    def __init__(self, engines: dict[str, Engine]) -> None:
        self._engines = engines
        self._changed = threading.Condition()

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        with self._changed:
            reply = self._engines.setdefault(update.repository, Engine()).sync_repository(update)
            self._changed.notify_all()
            return reply

    def wait(self, until: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(until, 20)


def workspace(folder: Path) -> WorkspaceIndex:
    (folder / "a.py").write_text(f'key = "{KEY}"\n')
    (folder / "b.py").write_text("def total(items):\n    return sum(items)\n")
    (folder / "notes.txt").write_text("not code")
    (folder / ".env").write_text("TOKEN=x")
    index = WorkspaceIndex(folder)
    index.refresh()
    return index


def test_files_travel_without_secrets_and_follow_edits(tmp_path: Path) -> None:
    index, engine = workspace(tmp_path), Engine()
    send_index(engine, index)
    assert sorted(engine.held()) == ["a.py", "b.py"]
    assert KEY not in "".join(engine.texts.values())
    index.update(str(tmp_path / "b.py"), "edited = True\n")
    (tmp_path / "a.py").unlink()
    index.reload(["a.py"])
    send_index(engine, index, [str(tmp_path / "b.py"), "a.py", "/elsewhere/c.py"])
    assert engine.held() == {"b.py": "edited = True\n"}


def test_a_lost_repository_is_sent_whole(tmp_path: Path) -> None:
    index, engine = workspace(tmp_path), Engine()
    send_index(engine, index, ["b.py"])
    assert sorted(engine.held()) == ["a.py", "b.py"]


def test_an_indexed_folder_arrives_by_itself_and_again_at_another_engine(tmp_path: Path) -> None:
    workspace(tmp_path)
    engines = [Engine()]
    link = RepositoryLink(lambda: engines[-1], pause_s=0.01)
    indexes = Indexes(None, changed=link.changed)
    try:
        indexes.set_roots([str(tmp_path)])
        assert engines[0].arrived.wait(20)
        engines.append(Engine())
        link.connected()
        assert engines[1].arrived.wait(20)
    finally:
        indexes.stop()
        link.stop()


def test_a_removed_folder_is_forgotten(tmp_path: Path) -> None:
    kept, gone = tmp_path / "kept", tmp_path / "gone"
    for folder in (kept, gone):
        folder.mkdir()
        (folder / "a.py").write_text("x = 1\n")
    engines: dict[str, Engine] = {}
    backend = Several(engines)
    link = RepositoryLink(lambda: backend, pause_s=0.01)
    removed: queue.Queue[WorkspaceIndex] = queue.Queue()
    indexes = Indexes(None, changed=link.changed, removed=lambda index: removed.put(index))
    try:
        indexes.set_roots([str(kept), str(gone)])
        backend.wait(lambda: all(str(folder) in engines and engines[str(folder)].texts for folder in (kept, gone)))
        indexes.set_roots([str(kept)])
        index = removed.get(timeout=20)
        assert str(index.root) == str(gone)
        link.removed(index)
        backend.wait(lambda: not engines[str(gone)].digests)
        assert engines[str(kept)].digests
        engines.clear()
        link.connected()  # another engine is not told of it either
        backend.wait(lambda: bool(engines))
        link.stop()
        assert list(engines) == [str(kept)]
    finally:
        indexes.stop()
        link.stop()


def test_nothing_goes_to_another_machine(tmp_path: Path) -> None:
    index = workspace(tmp_path)
    engine = Engine(local=False)
    link = RepositoryLink(lambda: engine, pause_s=60)
    link.changed(index)
    link._send()
    link.stop()
    assert not engine.digests
