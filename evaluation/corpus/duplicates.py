"""Near duplicates by runs of lines: vendored copies, generated siblings, and anything of the evaluation sets."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

RUN = 5
"""Lines of a run: long enough to be somebody's, short enough to survive edits around it."""
_MIN_CHARS = 60
"""Shorter runs are brackets and keywords that all code shares."""
_COMMENT = ("#", "//", "/*", "*")
_SPACE = re.compile(r"\s+")


def runs(text: str) -> Iterator[bytes]:
    """Hashes of every run of ``RUN`` lines of code, white space ignored; licence headers are nobody's copy."""
    stripped = (_SPACE.sub("", line) for line in text.split("\n"))
    lines = [line for line in stripped if line and not line.startswith(_COMMENT)]
    for first in range(max(0, len(lines) - RUN + 1)):
        run = "\n".join(lines[first : first + RUN])
        if len(run) >= _MIN_CHARS:
            yield hashlib.blake2b(run.encode("utf-8", "replace"), digest_size=8).digest()


class Seen:
    """Files kept so far, and text that must never be trained on."""

    def __init__(self, forbidden: Iterable[str] = (), share: float = 0.4) -> None:
        self._forbidden = {run for text in forbidden for run in runs(text)}
        self._known: set[bytes] = set()
        self._files: set[bytes] = set()
        self._share = share

    def forbids(self, text: str) -> bool:
        """Whether any run of it stands in the forbidden text."""
        return bool(self._forbidden) and any(run in self._forbidden for run in runs(text))

    def add(self, text: str) -> bool:
        """False for a copy: the same file, or one of which ``share`` of the runs were seen. Others are remembered."""
        digest = hashlib.blake2b(_SPACE.sub("", text).encode("utf-8", "replace"), digest_size=8).digest()
        found = set(runs(text))
        if digest in self._files or (found and len(found & self._known) >= self._share * len(found)):
            return False
        self._files.add(digest)
        self._known |= found
        return True


def evaluation_texts(folder: Path) -> Iterator[str]:
    """Every long string of the tables in ``folder`` (JSON Lines, gzip'd or not): prompts, answers, whole files."""
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for line in lines:
                yield from _whole(json.loads(line))


def _whole(row: dict[str, object]) -> Iterator[str]:
    for before, middle, after in (("prefix", "target", "suffix"), ("prompt", "canonical_solution", "suffix")):
        if before in row and middle in row:
            yield "".join(str(row.get(part, "")) for part in (before, middle, after))
    for name in ("content", "groundtruth", "prompt", "right_context"):
        if isinstance(row.get(name), str):
            yield str(row[name])
