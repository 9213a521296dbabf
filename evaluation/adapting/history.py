"""What a repository's own history gives: texts to learn from before a commit, cases to be judged by after it.

Half of the texts are what commits added, half what stood in the files: learning from the files alone a rank-2 adapter
lost on later commits (LOG.md).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holefill.context.provider import Tokenizer
from holefill.context.redaction import has_secret, is_secret_file
from holefill.context.syntax.languages import LANGUAGES, language_of
from holefill.evaluation.cases import CaseSet, DataError
from holefill.evaluation.corpus.build import windowed
from holefill.evaluation.corpus.duplicates import Seen
from holefill.evaluation.corpus.holes import Hole, holes_of
from holefill.evaluation.git import commits_since, git, tree_files
from holefill.evaluation.repository import commit_cuts, make_cases
from holefill.model.training.examples import TrainingText

MIN_CHARS = 200
PER_KILOCHARACTER = 1.0
"""Holes cut from a file, per 1,000 characters of it."""
MIN_TEXTS = 100
"""Cut from the files as they stood, where the history has fewer; otherwise as many as from what commits added."""
LATER_SHARE = 0.25
"""Of the commits, the newest: what the adapter is judged by."""


@dataclass(frozen=True, slots=True)
class Split:
    """Everything in ``texts`` was there at ``commit``; every case is from a commit after it."""

    repository: Path
    commit: str
    texts: tuple[TrainingText, ...]
    cases: CaseSet


def temporal_split(repository: Path, tokenizer: Tokenizer, *, commits: int, cases: int, seed: int) -> Split:
    """Of the last ``commits`` ones, the newest quarter judges. Raises GitError or DataError."""
    repository = Path(git(repository, "rev-parse", "--show-toplevel").strip())
    count = int(git(repository, "rev-list", "--count", "--first-parent", "HEAD"))
    known = min(commits, count - 1)
    later = max(1, round(known * LATER_SHARE))
    if known < 2:
        raise DataError(f"{repository} has {count} commits: a history is needed to learn from and to be judged by")
    commit = git(repository, "rev-parse", f"HEAD~{later}").strip()
    judged = make_cases(repository, commit, cases, seed)
    oldest = git(repository, "rev-parse", f"HEAD~{known}").strip()
    changes = list(history_texts(repository, oldest, commit, tokenizer, seed))
    files = list(training_texts(repository, commit, tokenizer, seed))
    random.Random(f"{seed}/files").shuffle(files)
    texts = (*changes, *files[: max(len(changes), MIN_TEXTS)])
    if not texts:
        raise DataError(f"{repository} has no source at {commit[:12]} to learn from")
    return Split(repository, commit, texts, judged)


def history_texts(repository: Path, since: str, until: str, tokenizer: Tokenizer, seed: int) -> Iterator[TrainingText]:
    """Holes in what the commits up to ``until`` added, newest first, each answer once: cut as the judging cases are."""
    answers: set[str] = set()
    generator = random.Random(f"{seed}/changes")
    for commit in commits_since(repository, since, until):
        for cut in commit_cuts(repository, commit, generator, len(answers)):
            answer = "".join(cut.target.split())
            if answer in answers or is_secret_file(cut.path) or has_secret(cut.text):
                continue
            answers.add(answer)
            hole = Hole(cut.kind, cut.start, cut.end)
            yield windowed(cut.text, hole, cut.language, tokenizer, generator, cut.path)


def training_texts(repository: Path, commit: str, tokenizer: Tokenizer, seed: int) -> Iterator[TrainingText]:
    """Holes in the files of that commit: no copies, no secrets."""
    seen = Seen()
    for path, text in sorted(tree_files(repository, commit)):
        language = language_of(path)
        if language not in LANGUAGES or len(text) < MIN_CHARS or is_secret_file(path) or has_secret(text):
            continue
        if not seen.add(text):
            continue
        generator = random.Random(f"{seed}/{path}")
        for hole in holes_of(text, language, max(1, round(len(text) / 1000 * PER_KILOCHARACTER)), generator):
            yield windowed(text, hole, language, tokenizer, generator, path)


def later_commits(split: Split) -> int:
    return len(commits_since(split.repository, split.commit))
