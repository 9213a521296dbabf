"""Attributes after the same name in the folder: counted once a file, in the background where there is no time."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.provider import Deadline
from holefill.context.types.cooccurrence import Cooccurrence, accesses


@pytest.fixture
def index(tmp_path: Path) -> WorkspaceIndex:
    for name, body in (("a", "conn.send(1)\nconn.send(2)\n"), ("b", "conn.close()\na.conn().open\n"), ("c", "")):
        (tmp_path / f"{name}.py").write_text(body)
    found = WorkspaceIndex(tmp_path)
    found.refresh()
    return found


def folder(known: Cooccurrence, index: WorkspaceIndex, ms: float) -> Counter[str]:
    return known.observed(str(index.root / "c.py"), "", "conn", Deadline.after_ms(ms)).folder


def test_with_time_everything_counts_at_once(index: WorkspaceIndex) -> None:
    assert folder(Cooccurrence(index), index, 1e6) == {"send": 2, "close": 1, "open": 1}


def test_without_time_the_rest_is_read_in_the_background(index: WorkspaceIndex) -> None:
    known = Cooccurrence(index)
    folder(known, index, 0.0)
    until = time.monotonic() + 60
    while len(folder(known, index, 0.0)) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    assert folder(known, index, 0.0) == {"send": 2, "close": 1, "open": 1}


def test_a_changed_file_is_counted_anew(index: WorkspaceIndex) -> None:
    known = Cooccurrence(index)
    folder(known, index, 1e6)
    index.update(str(index.root / "a.py"), "conn.wait\n")
    assert folder(known, index, 1e6) == {"wait": 1, "close": 1, "open": 1}


def test_the_middle_of_a_chain_counts_as_both() -> None:
    assert accesses("a.b.c; a?.b") == {"a": ["b", "b"], "b": ["c"]}
