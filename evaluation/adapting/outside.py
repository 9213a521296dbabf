"""What an adapter of one repository does to code that is not the repository's: holes in Python's own library, which
every machine has and nobody's repository is."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path

from holefill.context.provider import Tokenizer
from holefill.evaluation.corpus.build import windowed
from holefill.evaluation.corpus.holes import holes_of
from holefill.model.training.examples import TrainingText

FILES = 40
MIN_BYTES, MAX_BYTES = 4_000, 80_000
BOUND = 0.05
"""By how much the mean loss of a token there may rise; fixed before the first run."""


def outside_texts(tokenizer: Tokenizer, seed: int, library: Path | None = None) -> list[TrainingText]:
    """One hole of each of ``FILES`` files; the same on one Python for one seed."""
    folder = library or Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in folder.glob("*.py") if MIN_BYTES <= path.stat().st_size <= MAX_BYTES)
    generator = random.Random(f"{seed}/outside")
    texts: list[TrainingText] = []
    for path in generator.sample(paths, min(FILES, len(paths))):
        text = path.read_text("utf-8", "replace")
        holes = holes_of(text, "python", 1, generator)
        texts += [windowed(text, hole, "python", tokenizer, generator, path.name) for hole in holes]
    return texts
