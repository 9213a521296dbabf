"""A run on disk: one JSON line that says what ran, then one per case, written as it goes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TextIO

import cattrs

from holefill.evaluation.cases import DataError, read_rows

RECORD_VERSION = 1
"""Raised when a field changes its meaning; a run of another version is not resumed or compared."""


@dataclass(frozen=True, slots=True)
class RunHeader:
    suite: str
    suite_version: int
    model: str
    context: str
    seed: int
    limit: int | None
    device: str
    commit: str
    model_sha256: str = ""
    data: str = ""
    engine: str = ""
    """``llama.cpp`` or the URL of a server; empty for our own engine in this process."""
    context_tokens: int | None = None
    """Budget of repository context, where the command line set another than the suite's."""
    note: str = ""
    """What a reader of the numbers must know."""
    record_version: int = RECORD_VERSION

    @property
    def title(self) -> str:
        """What tells this run from others of its suite."""
        budget = "" if self.context_tokens is None else f" {self.context_tokens} tokens"
        return f"{self.engine + ', ' if self.engine else ''}{self.model}, context {self.context}{budget}"

    def same_question(self, other: RunHeader) -> bool:
        """Whether cases of ``other`` may stand beside ours in one file."""
        return self._question() == other._question()

    def _question(self) -> tuple[object, ...]:
        return (
            self.suite, self.suite_version, self.model, self.context, self.seed, self.record_version,
            self.engine, self.context_tokens,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class UsedItem:
    """A piece of context that was in the prompt."""

    source: str
    paths: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """The outcome of one case in one arm."""

    id: str
    context: str
    language: str
    kind: str
    repo: str = ""
    cross_file: bool | None = None
    length: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    """0–100 each; a measure that does not apply is absent."""
    token_scores: Mapping[str, float] = field(default_factory=dict)
    """0–100: ``measure/class of token`` and ``measure/first n tokens``."""
    shown: str = ""
    """What the user would see."""
    generated: str = ""
    """What the model wrote, as far as the official rule needed it."""
    target: str = ""
    reason: str = ""
    finish: str = ""
    items: tuple[UsedItem, ...] = ()
    prompt: str = ""
    """As text, with its special tokens spelled out."""
    prompt_sha: str = ""
    """Of the prompt's token ids: two engines were asked the same thing where it is equal."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    forwards: int = 0
    accepted: Mapping[str, int] = field(default_factory=dict)
    """Drafted tokens that the model confirmed, by drafter; one that two proposed counts for both."""
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    total_ms: float = 0.0
    mean_logprob: float | None = None
    error: str = ""
    """Why the case could not be run; then nothing above but the identity counts."""


@dataclass(frozen=True, slots=True)
class Run:
    header: RunHeader
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    run: RunHeader | None = None
    record: Record | None = None


def read_run(path: Path) -> Run:
    """A run, whole or cut off by a kill: a torn last line is left out. The last record of a case and arm counts."""
    header: RunHeader | None = None
    records: dict[tuple[str, str], Record] = {}
    _drop_torn_line(path)
    for line in read_rows(path, _Line):
        header = line.run or header
        if line.record is not None:
            records[line.record.id, line.record.context] = line.record
    if header is None:
        raise DataError(f"{path} is not a saved run: `holefill eval SUITE --output DIR` writes them")
    return Run(header, tuple(records.values()))


def _drop_torn_line(path: Path) -> None:
    """Cut the file after its last line end, if a killed run left half a line."""
    if path.suffix == ".gz" or not path.is_file() or not os.access(path, os.W_OK):
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)


_TEXTS = frozenset({"shown", "generated", "target", "prompt"})


def write_slim(run: Run, path: Path, note: str = "") -> None:
    """A run to commit: no text of the benchmark or the model, no path of this machine, no field at its default."""
    header = replace(run.header, data=Path(run.header.data).name, note=note or run.header.note)
    defaults = cattrs.unstructure(Record("", "", "", ""))
    with path.open("w", encoding="utf-8") as out:
        out.write(json.dumps({"run": cattrs.unstructure(header)}, ensure_ascii=False) + "\n")
        for record in run.records:
            fields = cattrs.unstructure(record)
            fields["items"] = [{"source": source} for source in sorted({item.source for item in record.items})]
            kept = {
                name: round(value, 4) if isinstance(value, float) else value
                for name, value in fields.items()
                if name not in _TEXTS and (name not in defaults or value not in (defaults[name], []))
            }
            out.write(json.dumps({"record": kept}, ensure_ascii=False) + "\n")


class RunWriter:
    """Appends records; every line reaches the disk before the next case starts."""

    def __init__(self, path: Path, header: RunHeader, resume: bool) -> None:
        """With ``resume``, a run of the same question goes on; raises ``DataError`` for one of another question."""
        self.path = path
        self.done: tuple[Record, ...] = ()
        if resume and path.is_file() and path.stat().st_size:
            before = read_run(path)
            if not header.same_question(before.header):
                raise DataError(f"{path} holds a run of other settings: choose another --output, or leave --resume out")
            self.done = tuple(record for record in before.records if not record.error)
            self._file: TextIO = path.open("a", encoding="utf-8")
        else:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("w", encoding="utf-8")
            except OSError as error:
                raise DataError(f"{path} cannot be written ({error.strerror}): choose a folder by --output") from error
            self._write("run", header)

    def add(self, record: Record) -> None:
        self._write("record", record)

    def _write(self, name: str, value: RunHeader | Record) -> None:
        self._file.write(json.dumps({name: cattrs.unstructure(value)}, ensure_ascii=False) + "\n")
        self._file.flush()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
