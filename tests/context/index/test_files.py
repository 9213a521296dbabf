"""Which files are indexed: ignore rules against git itself, limits, links, secrets."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from holefill.context.index.files import FileRules, accepts, read_source, walk
from holefill.context.index.workspace import WorkspaceIndex


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())


def walked(root: Path, rules: FileRules | None = None) -> list[str]:
    return sorted(found.path for found in walk(root, rules or FileRules()))


FILES = {
    ".gitignore": "*.gen.py\nbuild/\n/top.py\n!keep.gen.py\n# note\n\nsub/*.tmp.py\n",
    "a.py": "",
    "top.py": "",
    "x.gen.py": "",
    "keep.gen.py": "",
    "build/b.py": "",
    "sub/top.py": "",
    "sub/c.tmp.py": "",
    "sub/.gitignore": "inner.py\n!x.gen.py\n",
    "sub/inner.py": "",
    "sub/x.gen.py": "",
    "sub/deep/inner.py": "",
    "sub/deep/build/d.py": "",
    "readme.md": "",
}


def test_gitignore_like_git(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    write(tmp_path, FILES)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.split()
    expected = sorted(path for path in listed if path.endswith(".py"))
    assert walked(tmp_path) == expected
    assert len(expected) == 4
    every = [path for path in FILES if path.endswith(".py")]
    assert sorted(path for path in every if accepts(tmp_path, path, FileRules())) == expected


def test_extra_globs_and_folders_never_entered(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "", "gen/b.py": "", "node_modules/c.js": "", ".hidden/d.py": "", "venv/e.py": ""})
    assert walked(tmp_path, FileRules(ignore=("gen/",))) == ["a.py"]


def test_limits_binaries_and_bad_bytes(tmp_path: Path) -> None:
    write(tmp_path, {"big.py": "x" * 5000, "ok.py": b"# \xff\xfe caf\xe9\r\nx = 1\r\n", "bin.py": b"a\0b"})
    rules = FileRules(max_bytes=4000)
    assert walked(tmp_path, rules) == ["bin.py", "ok.py"]
    assert read_source(tmp_path, "bin.py", rules) is None
    assert read_source(tmp_path, "big.py", rules) is None
    assert read_source(tmp_path, "gone.py", rules) is None
    read = read_source(tmp_path, "ok.py", rules)
    assert read is not None
    assert read.endswith("x = 1\n")


def test_links_are_not_followed_and_unreadable_folders_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"pkg/a.py": "", "closed/b.py": ""})
    os.symlink(tmp_path, tmp_path / "pkg" / "loop")
    os.symlink(tmp_path / "pkg" / "a.py", tmp_path / "pkg" / "link.py")
    os.chmod(tmp_path / "closed", 0)
    try:
        found = walked(tmp_path)
    finally:
        os.chmod(tmp_path / "closed", 0o700)
    assert "pkg/a.py" in found
    assert not any("loop" in path or "link" in path for path in found)
    assert walked(tmp_path / "missing") == []


def test_a_walk_that_is_stopped_ends_and_nothing_counts_as_deleted(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "def known(): ...\n", "sub/b.py": ""})
    index, stop = WorkspaceIndex(tmp_path), threading.Event()
    index.refresh(stop=stop)
    stop.set()
    assert list(walk(tmp_path, FileRules(), stop)) == []
    index.refresh(stop=stop)
    assert index.paths() == ("a.py", "sub/b.py")


def test_names_that_are_not_utf8_stay_out_and_the_rest_is_stored(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.py").write_text("def known(): ...\n")
    try:
        os.mkdir(os.fsencode(root) + b"/caf\xe9")
        for name in (b"/caf\xe9.py", b"/caf\xe9/b.py"):
            with open(os.fsencode(root) + name, "w") as file:
                file.write("x = 1\n")
    except OSError:
        pytest.skip("this file system takes no such names")
    assert walked(root) == ["a.py"]
    assert not accepts(root, "caf\udce9.py", FileRules())
    WorkspaceIndex(root, tmp_path / "cache").refresh()
    again = WorkspaceIndex(root, tmp_path / "cache")
    again.open()
    assert [found.path for found in again.find("known")] == ["a.py"]


def test_secret_files_never_enter(tmp_path: Path) -> None:
    write(tmp_path, {"credentials.json": "{}", "package.json": "{}", ".env": "A=1", "secrets.py": "x = 1"})
    assert walked(tmp_path) == ["package.json", "secrets.py"]


def test_file_count_limit(tmp_path: Path) -> None:
    write(tmp_path, {f"m{number}.py": "" for number in range(9)})
    assert len(walked(tmp_path, FileRules(max_files=5))) == 5
