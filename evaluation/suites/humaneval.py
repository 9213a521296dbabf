"""HumanEval-FIM (santacoder-fim-task) and HumanEval-Infilling (openai/human-eval-infilling)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holefill.evaluation.cases import Case, CaseSet, find_tables, read_rows

_LANGUAGES = {"py": ("python", "solution.py"), "java": ("java", "Problem.java"), "js": ("javascript", "solution.js")}


@dataclass(frozen=True, slots=True)
class _FimRow:
    name: str
    language: str
    prompt: str
    suffix: str
    canonical_solution: str


@dataclass(frozen=True, slots=True)
class _InfillingRow:
    task_id: str
    entry_point: str
    prompt: str
    suffix: str
    canonical_solution: str
    test: str


def load_fim(data: Path, selection: tuple[str, ...], seed: int) -> CaseSet:
    return CaseSet(
        tuple(case for path in find_tables(data, "humaneval_fim*.jsonl") for case in _fim_cases(path, selection))
    )


def _fim_cases(path: Path, languages: tuple[str, ...]) -> Iterator[Case]:
    for row in read_rows(path, _FimRow):
        language, file = _LANGUAGES[row.language]
        if not languages or language in languages or row.language in languages:
            identity = f"{row.language}/{row.name}"
            yield Case(identity, language, file, row.prompt, row.canonical_solution, row.suffix, kind="line")


def load_infilling(data: Path, selection: tuple[str, ...], seed: int) -> CaseSet:
    tables = find_tables(data, "humaneval_infilling_*.jsonl")
    cases = (case for path in tables for case in _infilling_cases(path))
    return CaseSet(tuple(case for case in cases if not selection or case.kind in selection))


def _infilling_cases(path: Path) -> Iterator[Case]:
    for row in read_rows(path, _InfillingRow):
        kind = "single_line" if row.task_id.startswith("SingleLine") else "random_span"
        test = f"\n{row.test}\ncheck({row.entry_point})"
        middle = row.canonical_solution
        yield Case(row.task_id, "python", "solution.py", row.prompt, middle, row.suffix, kind=kind, test=test)
