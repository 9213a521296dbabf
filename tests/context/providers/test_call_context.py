"""Callees, callers and the example of a call; the typed hole; the rest of the file; TODOs, commits and issues."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor, Item, ItemRole
from holefill.context.provider import ContextProvider, Deadline
from holefill.context.providers.callees_callers import CalleesCallersProvider
from holefill.context.providers.local import LocalProvider
from holefill.context.providers.process import ProcessProvider, commits
from holefill.context.providers.typed_hole import TypedHoleProvider
from holefill.context.types.typed_holes import TypedHoles

FILES = {
    "tools.py": '''class Toolbox:
    """Holds tools."""
    size: int
    def add(self, tool: str, count: int = 1) -> None: ...
    def method_tools(self) -> list[str]: ...

def build(name: str, *, strict: bool = False) -> Toolbox:
    """A new box."""
    return Toolbox()
''',
    "use.py": """from tools import build

def setup():
    box = build("main", strict=True)
    return box

def teardown(box):
    helper(box)
""",
    "helpers.py": "def helper(box) -> None:\n    '''Ends it.'''\n",
}


@pytest.fixture
def index(tmp_path: Path) -> WorkspaceIndex:
    for path, text in FILES.items():
        (tmp_path / path).write_text(text)
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    return index


def at(index: WorkspaceIndex, path: str, marked: str) -> Cursor:
    text, offset = marked.replace("|", "", 1), CharOffset(marked.index("|"))
    return Cursor(str(index.root / path), text, offset, "python", str(index.root))


def by_role(items: list[Item]) -> dict[ItemRole, Item]:
    return {item.role: item for item in items if item.role is not ItemRole.OTHER}


def gather(provider: ContextProvider, cursor: Cursor) -> list[Item]:
    return provider.gather(cursor, 500, Deadline.after_ms(2000))


def test_the_same_call_elsewhere_is_the_example(index: WorkspaceIndex) -> None:
    items = gather(CalleesCallersProvider(index), at(index, "new.py", "from tools import build\nx = build(|)\n"))
    assert by_role(items)[ItemRole.EXAMPLE].text == 'box = build("main", strict=True)'


def test_the_own_file_gives_no_example(index: WorkspaceIndex) -> None:
    cursor = at(index, "use.py", FILES["use.py"].replace('build("main"', 'build(|"main"'))
    assert not by_role(gather(CalleesCallersProvider(index), cursor))


def test_callees_of_the_function_around_and_its_callers(index: WorkspaceIndex) -> None:
    text = FILES["tools.py"].replace("    return Toolbox()\n", "    helper(1)\n    |return Toolbox()\n")
    texts = [item.text for item in gather(CalleesCallersProvider(index), at(index, "tools.py", text))]
    assert "def helper(box) -> None  # Ends it." in texts
    assert 'def setup()\n    box = build("main", strict=True)' in texts


def test_what_is_known_of_the_hole(index: WorkspaceIndex) -> None:
    holes = TypedHoles(index, checkers=False)
    cursor = at(index, "new.py", "from tools import build\nx = build(|)\n")
    assert by_role(gather(TypedHoleProvider(holes), cursor))[ItemRole.CALLEE].text == (
        "build(name: str, *, strict: bool = False) -> Toolbox"
    )
    cursor = at(index, "new.py", "from tools import Toolbox\ndef f(box: Toolbox):\n    box.|\n")
    told = by_role(gather(TypedHoleProvider(holes), cursor))[ItemRole.MEMBERS].text
    assert told.startswith("box: Toolbox has ")
    assert all(name in told for name in ("add(tool, count)", "method_tools()", "size"))


def test_what_is_only_guessed_or_says_nothing_is_no_hint(index: WorkspaceIndex) -> None:
    """Attributes seen after the same name elsewhere, a class without a constructor: facts, but not beside a hole."""
    holes = TypedHoles(index, checkers=False)
    text = FILES["use.py"] + "def g(box):\n    box.open()\n\ndef f(box):\n    box.|\n"
    items = gather(TypedHoleProvider(holes), at(index, "use.py", text))
    assert any(item.text.startswith("box: has ") for item in items)
    assert ItemRole.MEMBERS not in by_role(items)
    plain = at(index, "new.py", "class Plain(dict):\n    size = 1\n\n\nx = Plain(|)\n")
    assert ItemRole.CALLEE not in by_role(gather(TypedHoleProvider(holes), plain))


def test_headers_say_what_makes_the_wanted_type(index: WorkspaceIndex) -> None:
    holes = TypedHoles(index, checkers=False)
    cursor = at(index, "new.py", "from tools import Toolbox\nbox: Toolbox = |\n")
    items = gather(TypedHoleProvider(holes), cursor)
    assert by_role(items)[ItemRole.EXPECTED].text == "expected type: Toolbox"
    assert "def build(name: str, *, strict: bool = False) -> Toolbox" in [item.text for item in items]


def test_the_rest_of_the_file_as_signatures(index: WorkspaceIndex) -> None:
    items = gather(LocalProvider(index), at(index, "use.py", FILES["use.py"] + "setup(|\n"))
    assert items[0].text == "def setup()"
    assert {item.symbol_ids[0] for item in items} == {"use.py#setup", "use.py#teardown"}


@pytest.fixture
def history(index: WorkspaceIndex) -> WorkspaceIndex:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(index.root), *who, *arguments], check=True, capture_output=True)

    git("init", "-q")
    git("add", "tools.py")
    git("commit", "-qm", "Boxes are strict on demand")
    git("add", "use.py")
    git("commit", "-qm", "Use the boxes")
    return index


def test_todos_commits_and_issues(history: WorkspaceIndex) -> None:
    key = "ghp_" + "a1" * 20
    (history.root / "TODO.md").write_text(f"Other things.\n\ntools.py: count is ignored, token {key}\n")
    provider = ProcessProvider(history)
    cursor = at(history, "tools.py", FILES["tools.py"] + "# TODO: count tools\n|")
    first = gather(provider, cursor)
    assert first[0].text == "TODO: count tools"
    provider.prepare(cursor)
    texts = [item.text for item in gather(provider, cursor)]
    assert "recent changes: Boxes are strict on demand" in texts
    (issue,) = [text for text in texts if "count is ignored" in text]
    assert key not in issue
    assert "Other things" not in issue


def test_no_repository_no_commits(index: WorkspaceIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(index.root.parent))
    assert commits(index.root, "tools.py") == ()
    monkeypatch.setenv("PATH", "")
    assert commits(index.root, "tools.py") == ()


def test_a_repository_cannot_make_git_run_its_program(history: WorkspaceIndex) -> None:
    mark = history.root / "ran"
    script = history.root / "program"
    script.write_text(f"#!/bin/sh\ntouch {mark}\n")
    script.chmod(0o755)
    for name in ("gpg.program", "core.fsmonitor", "core.pager"):
        subprocess.run(["git", "-C", str(history.root), "config", name, str(script)], check=True)
    subprocess.run(["git", "-C", str(history.root), "config", "log.showSignature", "true"], check=True)
    assert commits(history.root, "tools.py") == ("Boxes are strict on demand",)
    assert not mark.exists()
