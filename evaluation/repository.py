"""Cases from a repository's own history: the hole is what a commit added, the rest is as before the commit.

Made like the commit-replay sets: cursor at cardinal points, kinds line / lines / call / statement in turn, at most four
cases a commit, each target once, no tests, imports or comments. The same seed gives the same cases.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from holefill.context.syntax.languages import language_of
from holefill.evaluation.cardinal_points import cardinal_points
from holefill.evaluation.cases import Case, CaseSet, DataError, Workspace
from holefill.evaluation.git import Added, added_lines, commits_since, file_at, git, tree_files
from holefill.evaluation.metrics.brackets import statement_end, unmatched_closer
from holefill.evaluation.metrics.identifiers import identifiers

KINDS = ("line", "lines", "call", "statement")
PER_COMMIT = 4
MIN_CHARS, MAX_CHARS, MAX_LINES = 4, 400, 6
_SKIPPED_FOLDERS = frozenset({"test", "tests", "testing", "docs", "vendor", "node_modules", "third_party", "dist"})
_SKIPPED_LINE = re.compile(r"\s*(?:import\b|from\s+\S+\s+import\b|using\b|package\b|#|//|/?\*|\"\"\"|''')")
_DEFINITION = re.compile(
    r"\b(?:def|class|func|function|fn|struct|interface|enum|trait|type|const)\s+(?:\([^)]*\)\s*)?(\w+)"
)
_MIN_NAME = 3


@dataclass(frozen=True, slots=True)
class _Hole:
    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A hole in what a commit added, in the file as it stood after that commit."""

    path: str
    text: str
    language: str
    kind: str
    start: int
    end: int

    @property
    def target(self) -> str:
        return self.text[self.start : self.end]


def make_cases(repository: Path, since: str, count: int, seed: int) -> CaseSet:
    """At most ``count`` cases. Raises ``GitError`` or ``DataError``."""
    repository = Path(git(repository, "rev-parse", "--show-toplevel").strip())
    commits = commits_since(repository, since)
    generator = random.Random(seed)
    generator.shuffle(commits)
    cases: list[Case] = []
    seen: set[str] = set()
    for commit in commits:
        for case in _commit_cases(repository, commit, generator, len(cases)):
            if len(cases) < count and "".join(case.target.split()) not in seen:
                seen.add("".join(case.target.split()))
                cases.append(case)
        if len(cases) >= count:
            break
    if not cases:
        raise DataError(f"no commit after {since} added code that can be a case: try an older --since")
    needed = {case.workspace for case in cases}
    parents = {f"{commit[:12]}^": f"{commit}^" for commit in commits}
    workspaces = {n: Workspace(n, repository=repository, commit=c) for n, c in parents.items() if n in needed}
    return CaseSet(tuple(cases), workspaces)


def _commit_cases(repository: Path, commit: str, generator: random.Random, made: int) -> Iterator[Case]:
    return (_built(repository, commit, cut) for cut in commit_cuts(repository, commit, generator, made))


def commit_cuts(repository: Path, commit: str, generator: random.Random, made: int) -> Iterator[Cut]:
    """At most ``PER_COMMIT``, one of a run of lines that the commit added; kinds in turn, from the ``made``-th on."""
    added = [entry for entry in added_lines(repository, commit) if _wanted(entry.path)]
    generator.shuffle(added)
    for number, entry in enumerate(added[:PER_COMMIT]):
        kinds = [KINDS[(made + number + turn) % len(KINDS)] for turn in range(len(KINDS))]
        cut = _cut(repository, commit, entry, kinds, generator)
        if cut is not None:
            yield cut


def _wanted(path: str) -> bool:
    pure = PurePosixPath(path)
    name = pure.name.lower()
    in_tests = (
        name.startswith("test_") or ".test." in name or ".spec." in name or name.endswith(("_test.go", "_test.py"))
    )
    return language_of(path) != "text" and not in_tests and not _SKIPPED_FOLDERS.intersection(pure.parts)


def _cut(repository: Path, commit: str, added: Added, kinds: Sequence[str], generator: random.Random) -> Cut | None:
    text = file_at(repository, commit, added.path)
    if text is None:
        return None
    language = language_of(added.path)
    holes = _holes(text, added, language)
    for kind in kinds:
        of_kind = [hole for hole in holes if hole.kind == kind]
        if of_kind:
            hole = generator.choice(of_kind)
            return Cut(added.path, text, language, hole.kind, hole.start, hole.end)
    return None


def _built(repository: Path, commit: str, cut: Cut) -> Case:
    path, language, target = cut.path, cut.language, cut.target
    prefix, suffix = cut.text[: cut.start], cut.text[cut.end :]
    cross = _cross_names(repository, f"{commit}^", path, prefix + suffix, target, language)
    around = set(identifiers(prefix + "\n" + suffix, language))
    return Case(
        id=f"{commit[:12]}/{path}:{prefix.count(chr(10)) + 1}:{cut.kind}",
        language=language,
        path=path,
        prefix=prefix,
        target=target,
        suffix=suffix,
        kind=cut.kind,
        repo=repository.name,
        workspace=f"{commit[:12]}^",
        dropped=(path,),
        cross_file=bool(cross),
        cross_names=cross,
        unseen_names=tuple(name for name in cross if name not in around),
    )


def _holes(text: str, added: Added, language: str) -> list[_Hole]:
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    last = min(added.first + added.count, len(lines))
    end_of_added = starts[last] - 1
    found: list[_Hole] = []
    for number in range(added.first, last):
        if not lines[number].strip() or _SKIPPED_LINE.match(lines[number]):
            continue
        found += _line_holes(text, lines[number], starts[number], end_of_added, language)
        block = min(last, number + 1 + (number - added.first) % MAX_LINES)
        found.append(_Hole("lines", starts[number], starts[block] - 1))
    return [hole for hole in found if _fits(text[hole.start : hole.end])]


def _line_holes(text: str, line: str, start: int, end_of_added: int, language: str) -> Iterator[_Hole]:
    for point in cardinal_points(line, language):
        at = start + point.column
        rest = text[at:end_of_added]
        if point.after == "indent":
            end = statement_end(rest, language)
            yield _Hole("statement", at, at + (len(rest) if end is None else end))
        else:
            yield _Hole("line", at, start + len(line))
        if point.after in ("(", ","):
            end = unmatched_closer(rest, language)
            if end is not None:
                yield _Hole("call", at, at + len(rest[:end].rstrip()))


def _fits(target: str) -> bool:
    return (
        MIN_CHARS <= len(target.strip()) <= MAX_CHARS
        and target.count("\n") < MAX_LINES
        and any(char.isalpha() for char in target)
    )


def _cross_names(repository: Path, commit: str, path: str, around: str, target: str, language: str) -> tuple[str, ...]:
    """Names of the target that another file of the snapshot defines and this one does not; by name, without types."""
    here = set(_DEFINITION.findall(around))
    defined = _definitions(repository, commit)
    names = dict.fromkeys(name for name in identifiers(target, language) if len(name) >= _MIN_NAME)
    return tuple(name for name in names if name not in here and defined.get(name, frozenset()) - {path})


@functools.lru_cache(maxsize=4)
def _definitions(repository: Path, commit: str) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for path, text in tree_files(repository, commit):
        if _wanted(path):
            for name in _DEFINITION.findall(text):
                found.setdefault(name, set()).add(path)
    return {name: frozenset(paths) for name, paths in found.items()}
