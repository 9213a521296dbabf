"""Everything a workspace can be wrong about at once, and a checker that fails: the facts still come, from the floor."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from holefill.context.gather import Gatherer
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor, ItemRole
from holefill.context.provider import Deadline
from holefill.context.providers import Sources, providers
from holefill.context.types.keeper import Limits
from holefill.context.types.specs import python_spec
from holefill.context.types.typed_holes import TypedHoles
from tests.context.conftest import ToyTokenizer

FAKE = Path(__file__).parent / "types" / "fake_checker.py"
GENERATED = "value = 1\n" * 5_000_000
"""50 MB."""
FILES = {
    "a.py": b"from b import *\nclass A(B):\n    size: int\ndef take(one: 'B', two: 'A') -> 'A': ...\n",
    "b.py": b"from a import *\nfrom c import A as A\nclass B(A):\n    other: 'A'\n",
    "c.py": b"from b import A\n",
    "bad.py": b"# \xff\xfe\x80\ndef caf\xe9(x): ...\ndef fine(x): ...\n",
    ".env": b"API_KEY=abc\n",
}


def at(root: Path, name: str, marked: str) -> Cursor:
    return Cursor(str(root / name), marked.replace("▮", ""), CharOffset(marked.index("▮")), "python", str(root))


@pytest.mark.parametrize("mode", ["hang", "exit", "rubbish", "oversized", "exit-at-start"])
def test_the_floor_answers(tmp_path: Path, tokenizer: ToyTokenizer, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    os.symlink(tmp_path, tmp_path / "loop")
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    assert index.paths() == ("a.py", "b.py", "bad.py", "c.py")
    spec = python_spec(None, (sys.executable, "-S", str(FAKE), mode))
    monkeypatch.setattr("holefill.context.types.typed_holes.python_spec", lambda root: spec)
    holes = TypedHoles(index, limits=Limits(start_s=5.0, hang_s=0.2, backoff_s=(0.05,)))
    gather = Gatherer(providers(Sources(index, holes)), tokenizer)
    try:
        for text in ("from a import take\nfrom b import B\ntake(▮", "from a import A\ndef f(x: A):\n    x.▮\n"):
            pack = gather(at(tmp_path, "main.py", text), 400, Deadline.after_ms(30_000))
            told = {item.role: item.text for item in pack.facts}
            if "take(" in text:
                assert told[ItemRole.CALLEE] == "take(one: 'B', two: 'A') -> 'A'"
            else:
                assert "size" in told[ItemRole.MEMBERS]
    finally:
        gather.close()
        holes.close()


def test_fifty_megabytes_of_generated_code_are_neither_read_nor_in_the_way(
    tmp_path: Path, tokenizer: ToyTokenizer
) -> None:
    (tmp_path / "generated.py").write_text(GENERATED)
    (tmp_path / "a.py").write_text("def take(one: int): ...\n")
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    assert index.paths() == ("a.py",)
    index.update("generated.py", GENERATED)
    record = index.record("generated.py")
    assert record is not None
    assert record.symbols == ()
    holes = TypedHoles(index, checkers=False)
    gather = Gatherer(providers(Sources(index, holes)), tokenizer)
    try:
        inside = Cursor(str(tmp_path / "generated.py"), GENERATED, CharOffset(20), "python", str(tmp_path))
        assert holes.query(inside, Deadline.after_ms(1000)).hole is None
        gather(inside, 400, Deadline.after_ms(30_000))
        beside = gather(at(tmp_path, "b.py", "from a import take\ntake(▮"), 400, Deadline.after_ms(30_000))
        assert any(item.role is ItemRole.CALLEE for item in beside.facts)
    finally:
        gather.close()
