"""The engine's copy of repositories: always the text that was sent last, none that was to be forgotten."""

from __future__ import annotations

import random
from functools import partial

import pytest

from holefill.model.repository import RepositoryReply, RepositoryUpdate, SourceText, send_changes, send_repository
from holefill.model.spec import repository
from holefill.model.spec.repository import RepositoryStore


class Local:
    """The in-process path, counting what travels."""

    takes_repositories = True

    def __init__(self, store: RepositoryStore) -> None:
        self.store = store
        self.characters = 0

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        self.characters += sum(len(file.text) for file in update.texts)
        return self.store.sync(update)


def encode(text: str) -> list[int]:
    return list(text.encode())


def files(texts: dict[str, str]) -> list[SourceText]:
    return [SourceText(path, str(hash(text)), partial(str, text)) for path, text in texts.items()]


def holds(store: RepositoryStore, key: str, text: str) -> bool:
    return any(len(part.match(encode(text))) == len(encode(text)) for part in store.arrays(key))


@pytest.mark.parametrize("fresh", [0, 40, 10_000])
def test_random_edits_leave_exactly_the_current_text(fresh: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed files are found at once; removed ones and, after a whole sync, old versions are not found any more."""
    monkeypatch.setattr(repository, "FRESH_TOKENS", fresh)
    rng = random.Random(fresh)
    store = RepositoryStore(encode)
    local = Local(store)
    texts: dict[str, str] = {}
    send_repository(local, "r", [])
    for step in range(200):
        path = f"f{rng.randrange(8)}"
        gone = texts.pop(path, None)
        removed = [path] if gone is not None and rng.random() < 0.3 else []
        if not removed:
            texts[path] = f"<{path}:{step}>"
        before = local.characters
        whole = rng.random() < 0.2
        if whole:
            send_repository(local, "r", files(texts))
        else:
            assert send_changes(local, "r", files({p: t for p, t in texts.items() if p == path}), removed)
        assert local.characters - before == (0 if removed else len(texts[path]))
        assert all(holds(store, "r", text) for text in texts.values())
        if gone is not None and (removed or whole):
            assert not holds(store, "r", gone)
    assert store.tokens() == sum(len(text) for text in texts.values())


def test_an_empty_repository_offers_nothing() -> None:
    store = RepositoryStore(encode)
    send_repository(Local(store), "r", files({"a": ""}))
    assert store.arrays("r") == ()
    assert store.arrays("unknown") == ()


def test_memory_is_bounded_and_the_least_recently_used_repository_leaves() -> None:
    store = RepositoryStore(encode, max_tokens=100)
    local = Local(store)
    for key in ("a", "b", "c"):
        send_repository(local, key, files({"f": key * 40}))
    assert store.arrays("a") == ()
    assert not send_changes(local, "a", files({"f": "x"}), [])  # forgotten: the sender is told so
    assert store.arrays("b")
    send_repository(local, "d", files({"f": "d" * 90, "g": "e" * 90}))
    assert store.tokens() <= 100
    assert holds(store, "d", "d" * 10)


def test_repositories_do_not_see_each_other() -> None:
    store = RepositoryStore(encode)
    send_repository(Local(store), "a", files({"f": "only in a"}))
    send_repository(Local(store), "b", files({"f": "something else"}))
    assert holds(store, "a", "only in a")
    assert not holds(store, "b", "only in a")
