"""llama.vscode's ring: places near this file, none twice, never what the request shows anyway."""

from __future__ import annotations

from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.evaluation.arms import ARMS
from holefill.evaluation.ring import CHUNK_LINES, CHUNKS, Chunk, Ring, RingProvider


@pytest.fixture
def index(tmp_path: Path) -> WorkspaceIndex:
    files = {
        "app/use.py": "".join(f"use_{n} = {n}\n" for n in range(600)),
        "app/beside.py": "".join(f"beside_{n} = {n}\n" for n in range(100)),
        "lib/tools.py": "def build(name):\n    return name\n",
        "far/other.py": "far = 1\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    return index


def cursor_in(index: WorkspaceIndex, line: int) -> Cursor:
    text = "from lib.tools import build\n" + (index.root / "app/use.py").read_text()
    offset = len("\n".join(text.split("\n")[:line])) + 1
    return Cursor(str(index.root / "app/use.py"), text, CharOffset(offset), "python", str(index.root))


def test_it_has_been_near_and_shows_nothing_of_the_window(index: WorkspaceIndex) -> None:
    cursor = cursor_in(index, 400)
    items = RingProvider(index).gather(cursor, 100_000, Deadline.after_ms(1e9))
    assert {item.spans[0].path for item in items} == {"app/use.py", "app/beside.py", "lib/tools.py"}
    assert all(item.text.count("\n") < CHUNK_LINES for item in items)
    own = [item.text for item in items if item.spans[0].path == "app/use.py"]
    numbers = [int(line.split(" = ")[1]) for text in own for line in text.splitlines() if line.startswith("use_")]
    assert len(own) == 2
    assert numbers
    assert all(number < 400 - 256 or number >= 400 + 63 for number in numbers)
    assert items == RingProvider(index).gather(cursor, 100_000, Deadline.after_ms(1e9))


def test_a_chunk_is_cut_to_the_budget(index: WorkspaceIndex) -> None:
    items = RingProvider(index).gather(cursor_in(index, 3), 60, Deadline.after_ms(1e9))
    assert max(len(item.text) for item in items) <= 60 * 3


def test_a_new_chunk_takes_the_place_of_one_much_like_it() -> None:
    ring = Ring()
    lines = tuple(f"line {n}" for n in range(30))
    ring.add(Chunk("a.py", 0, lines))
    ring.add(Chunk("b.py", 0, ("something else",)))
    ring.add(Chunk("a.py", 1, (*lines[1:], "line 30")))
    assert [chunk.path for chunk in ring.chunks] == ["b.py", "a.py"]
    for n in range(2 * CHUNKS):
        ring.add(Chunk("c.py", n, (str(n),)))
    assert [chunk.first for chunk in ring.chunks] == list(range(CHUNKS, 2 * CHUNKS))


def test_it_is_an_arm() -> None:
    assert ARMS["ring"].providers == (RingProvider.name,)
