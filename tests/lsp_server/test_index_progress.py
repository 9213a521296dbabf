"""Indexing is told to an editor that asked for it, when it takes long, and always comes to an end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from lsprotocol import types

from holefill.lsp_server.features.index_progress import IndexProgress

Call = tuple[float, str, int, int]
"""Seconds, root, files done, files in all."""
Told = tuple[str, str] | tuple[str, str, str | None, int | None]


class Shown:
    """The editor's side; ``gate`` holds its answer to the creation of a token."""

    def __init__(self, fails: bool = False):
        self.tokens: set[types.ProgressToken] = set()
        self.told: list[Told] = []
        self.fails = fails
        self.gate = asyncio.Event()
        self.gate.set()

    async def create_async(self, token: types.ProgressToken) -> None:
        await self.gate.wait()
        if self.fails:
            raise RuntimeError("no")
        self.tokens.add(token)

    def begin(self, token: types.ProgressToken, value: types.WorkDoneProgressBegin) -> None:
        self.told.append((str(token), "begin", value.title, value.percentage))

    def report(self, token: types.ProgressToken, value: types.WorkDoneProgressReport) -> None:
        self.told.append((str(token), "report", value.message, value.percentage))

    def end(self, token: types.ProgressToken, value: types.WorkDoneProgressEnd) -> None:
        self.told.append((str(token), "end"))


@dataclass(frozen=True, slots=True)
class Editor:
    client_capabilities: types.ClientCapabilities
    work_done_progress: Shown


def run(calls: list[Call], *, capable: bool = True, fails: bool = False, held: bool = False) -> list[Told]:
    """Feeds the calls; returns what was shown."""

    async def go() -> list[Told]:
        shown = Shown(fails)
        window = types.WindowClientCapabilities(work_done_progress=capable)
        server = Editor(types.ClientCapabilities(window=window), shown)
        now = [0.0]
        progress = IndexProgress(server, lambda call: call(), lambda: now[0])
        if held:
            shown.gate.clear()
        for at, root, done, total in calls:
            now[0] = at
            progress(root, done, total)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        shown.gate.set()
        for _ in range(5):
            await asyncio.sleep(0)
        return shown.told

    return asyncio.run(go())


LONG: list[Call] = [(0, "/w/app", 1, 100), (1, "/w/app", 20, 100), (1.1, "/w/app", 21, 100), (2, "/w/app", 50, 100),
        (3, "/w/app", 100, 100)]  # fmt: skip


def test_a_long_run_is_told_and_not_too_often() -> None:
    assert run(LONG) == [
        ("holefill-index-1", "begin", "holefill: indexing app", 0),
        ("holefill-index-1", "report", "50 of 100 files", 50),
        ("holefill-index-1", "end"),
    ]


@pytest.mark.parametrize(
    ("calls", "options"),
    [(LONG, {"capable": False}), (LONG, {"fails": True}), ([(0, "/w", 1, 9), (0.1, "/w", 9, 9)], {})],
)
def test_nothing_is_told_to_who_cannot_show_it_or_of_a_short_run(calls: list[Call], options: dict[str, bool]) -> None:
    assert run(calls, **options) == []


def test_an_end_before_the_editors_answer_is_still_an_end() -> None:
    told = run([LONG[0], LONG[1], LONG[4]], held=True)
    assert [entry[1] for entry in told] == ["begin", "end"]


def test_two_folders_and_a_second_run_have_tokens_of_their_own() -> None:
    other = [(at, "/w/lib", done, total) for at, _, done, total in LONG]
    calls = sorted([*LONG, *other], key=lambda call: call[0]) + [
        (at + 10, root, done, total) for at, root, done, total in LONG
    ]
    begun = [entry[0] for entry in run(calls) if entry[1] == "begin"]
    ended = [entry[0] for entry in run(calls) if entry[1] == "end"]
    assert len(set(begun)) == 3
    assert sorted(begun) == sorted(ended)
