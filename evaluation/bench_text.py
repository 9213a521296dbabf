"""Text to measure on: this package's own source, so that a bench needs no data."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from holefill.model.tokenizer import Tokenizer

_FILES = (
    ("holefill.lsp_server", "completer.py"),
    ("holefill.context", "gather.py"),
    ("holefill.model", "engine.py"),
    ("holefill.evaluation", "summary.py"),
    ("holefill.context", "packing.py"),
    ("holefill.model", "store.py"),
    ("holefill.lsp_server", "session.py"),
    ("holefill.evaluation", "records.py"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A file with a cursor in it."""

    path: str
    text: str
    offset: int


def code_ids(tokenizer: Tokenizer, count: int) -> list[int]:
    """``count`` token ids of real code."""
    text = "".join(_read(*file) for file in _FILES)
    ids = tokenizer.encode(text[: 8 * count])
    if len(ids) < count:
        raise ValueError(f"only {len(ids)} tokens of text for {count}")
    return ids[:count]


def places(count: int) -> list[Place]:
    """At the start of the statement nearest to two thirds of each file: enough before the cursor to copy from."""
    found = []
    for number in range(count):
        package, name = _FILES[number % len(_FILES)]
        text = _read(package, name)
        share = 2 / 3 - 0.1 * (number // len(_FILES))
        line_end = text.index("\n    ", int(len(text) * share))
        found.append(Place(f"{package}.{name}", text, line_end + 5))
    return found


def _read(package: str, name: str) -> str:
    return (resources.files(package) / name).read_text(encoding="utf-8")
