"""Golden table of call edges, and their use in the index."""

from __future__ import annotations

from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.syntax.calls import Call, calls
from holefill.context.syntax.definitions import definitions
from holefill.context.syntax.languages import LANGUAGES
from holefill.context.syntax.parsing import parse

GOLDEN = {
    "python": ("def f():\n    a.b.g()\n    g()\nclass C:\n    def m(self): return K(h())\nmain()\n",
               [("f", "g"), ("C.m", "K"), ("C.m", "h"), ("", "main")]),
    "typescript": ("function f() { a.g(); new K() }\nclass C { m() { h() } }\n",
                   [("f", "g"), ("f", "K"), ("C.m", "h")]),
    "tsx": ("function f() { return <A b={g()} /> }\n", [("f", "g")]),
    "javascript": ("function f() { a.g(); new K() }\n", [("f", "g"), ("f", "K")]),
    "java": ("class C { void m() { a.g(); new K(); h(); } }\n", [("C.m", "g"), ("C.m", "K"), ("C.m", "h")]),
    "go": ("package p\nfunc f() { a.G(); h() }\n", [("f", "G"), ("f", "h")]),
    "rust": ("fn f() { a.g(); K::new(); h() }\n", [("f", "g"), ("f", "new"), ("f", "h")]),
    "csharp": ("class C { void M() { a.G(); new K(); H(); } }\n", [("C.M", "G"), ("C.M", "K"), ("C.M", "H")]),
    "c": ("void f() { g(1); a->h(); }\n", [("f", "g"), ("f", "h")]),
    "cpp": ("void f() { g(1); a.h(); n::k(); }\n", [("f", "g"), ("f", "h"), ("f", "k")]),
}  # fmt: skip


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_edges(language: str) -> None:
    source, edges = GOLDEN[language]
    parsed = parse(language, source)
    assert [(edge.caller, edge.callee) for edge in calls(parsed, definitions(parsed))] == edges


def test_the_index_knows_callers_and_callees(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def one(): pass\ndef two():\n    one()\n")
    (tmp_path / "b.py").write_text("from a import one\n\none()\n")
    (tmp_path / "c.py").write_text("def one(): pass\none()\n")
    index = WorkspaceIndex(tmp_path, tmp_path / "cache")
    index.refresh()
    own = next(found for found in index.find("one") if found.path == "a.py")
    # c.py calls its own function of the same name.
    assert [(caller.path, caller.name, caller.line) for caller in index.callers(own)] == [
        ("a.py", "two", 2),
        ("b.py", "", 2),
    ]
    assert index.callees("a.py", "two") == ("one",)
    index.update("b.py", "x = 1\n")
    assert [caller.path for caller in index.callers(own)] == ["a.py"]
    again = WorkspaceIndex(tmp_path, tmp_path / "cache")
    again.open()
    record = again.record("a.py")
    assert record is not None
    assert record.calls == (Call("two", "one", 2),)
