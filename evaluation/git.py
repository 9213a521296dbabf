"""What the case maker reads of a git repository. Runs ``git`` only; nothing is written."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

_MAX_BYTES = 200_000
_HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@")
_FILE = re.compile(r"^\+\+\+ b/(.*)$")


class GitError(click.ClickException):
    """git refused; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Added:
    """A run of lines that a commit added: ``first`` (from 0) and how many."""

    path: str
    first: int
    count: int


def git(repository: Path, *arguments: str, text: str = "") -> str:
    command = ["git", "-C", str(repository), "-c", "core.quotepath=off", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, input=text.encode())
    except OSError as error:
        raise GitError(f"git cannot be run ({error}): install git") from error
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GitError(f"git {arguments[0]} failed in {repository}: {reason[-1] if reason else 'no reason given'}")
    return done.stdout.decode("utf-8", "replace")


def commits_since(repository: Path, revision: str, until: str = "HEAD") -> list[str]:
    """Commits after ``revision`` that have one parent, newest first."""
    listed = git(repository, "rev-list", "--no-merges", "--min-parents=1", f"{revision}..{until}")
    return listed.split()


def added_lines(repository: Path, commit: str) -> list[Added]:
    """Of a commit against its parent; changes of white space alone do not count."""
    diff = git(repository, "diff", "-U0", "-w", "--no-renames", "--no-color", "--no-ext-diff", f"{commit}^", commit)
    found: list[Added] = []
    path = ""
    for line in diff.splitlines():
        if (file := _FILE.match(line)) is not None:
            path = file.group(1)
        elif line.startswith("+++ "):
            path = ""
        elif path and (hunk := _HUNK.match(line)) is not None:
            count = int(hunk.group(2)) if hunk.group(2) is not None else 1
            if count:
                found.append(Added(path, int(hunk.group(1)) - 1, count))
    return found


def file_at(repository: Path, commit: str, path: str) -> str | None:
    """Its text with ``\\n`` line ends; None for a binary or a very large file."""
    return next((text for _, text in _contents(repository, [(path, f"{commit}:{path}")])), None)


def tree_files(repository: Path, commit: str) -> Iterator[tuple[str, str]]:
    """Text files of a commit under 200 kB."""
    rows = git(repository, "ls-tree", "-r", "-l", "-z", commit).split("\0")
    wanted = []
    for row in rows:
        head, _, path = row.partition("\t")
        fields = head.split()
        if len(fields) == 4 and fields[1] == "blob" and int(fields[3]) <= _MAX_BYTES and fields[0] != "120000":
            wanted.append((path, fields[2]))
    return _contents(repository, wanted)


def _contents(repository: Path, wanted: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(path, text) of (path, object name) through one ``cat-file``."""
    command = ["git", "-C", str(repository), "cat-file", "--batch"]
    names = "".join(f"{name}\n" for _, name in wanted)
    done = subprocess.run(command, capture_output=True, check=False, input=names.encode())
    position = 0
    for path, _ in wanted:
        end = done.stdout.index(b"\n", position)
        header = done.stdout[position:end].split()
        position = end + 1
        if header[-1] == b"missing":
            continue
        size = int(header[-1])
        data = done.stdout[position : position + size]
        position += size + 1
        if size <= _MAX_BYTES and b"\0" not in data:
            yield path, data.decode("utf-8", "replace").replace("\r\n", "\n")
