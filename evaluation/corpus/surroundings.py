"""What the rest of a package says about a hole, as the prompt shows it: by the providers alone, or the answer's too.

A model that is to read its context must have seen context that helps, context that does not, and none (PAPERS §2.21).
"""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor, Item
from holefill.context.packing import pack
from holefill.context.prompt import PromptLimits, context_comments
from holefill.context.provider import ContextProvider, Deadline, Preparing, Tokenizer
from holefill.context.providers.class_signatures import ClassSignaturesProvider
from holefill.context.providers.imports import ImportsProvider
from holefill.context.providers.similar import SimilarProvider
from holefill.context.syntax.languages import line_comment
from holefill.evaluation.arms import DefinitionsProvider
from holefill.evaluation.corpus.holes import Hole
from holefill.evaluation.metrics.identifiers import identifiers

BUDGETS = (120, 200, 280)
"""Tokens; a quarter to a half of a training prompt."""
_MAX_DEFINITIONS = 3
"""A name that more files define says little about which one is meant."""
_MIN_NAME = 3
_DEADLINE_MS = 5_000.0


class Shown(StrEnum):
    """What stands in front of the prefix."""

    NOTHING = "nothing"
    PROVIDERS = "providers"
    DEFINITIONS = "definitions"
    """Of the names that the answer takes from other files, among what the providers say."""


class Surroundings:
    """The files of one package on disk, indexed, for as long as it is open."""

    def __init__(self, files: Iterable[tuple[str, str]], tokenizer: Tokenizer) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="holefill-package-")
        self._tokenizer = tokenizer
        root = Path(self._folder.name).resolve()
        for path, text in files:
            file = (root / path).resolve()
            if file.is_relative_to(root):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, "utf-8", "surrogatepass")
        self._index = WorkspaceIndex(root)
        self._index.refresh()
        kinds = (ImportsProvider, ClassSignaturesProvider, SimilarProvider)
        self._providers: tuple[ContextProvider, ...] = tuple(kind(self._index) for kind in kinds)

    def __enter__(self) -> Surroundings:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def names(self, path: str, text: str, hole: Hole, language: str) -> tuple[str, ...]:
        """What the hole calls, or reads as a member, or takes from an imported file, and another file defines."""
        middle = text[hole.start : hole.end]
        imported = set(self._index.imported_files(path))
        found: list[str] = []
        for name in dict.fromkeys(identifiers(middle, language)):
            places = {one.path for one in self._index.find(name)} if len(name) >= _MIN_NAME else set()
            if not places or path in places or len(places) > _MAX_DEFINITIONS:
                continue
            if places & imported or re.search(rf"\.{re.escape(name)}\b|\b{re.escape(name)}\s*\(", middle):
                found.append(name)
        return tuple(found)

    def comments(self, path: str, text: str, hole: Hole, language: str, shown: Shown, generator: random.Random) -> str:
        """Comment lines for the top of the prompt; empty for ``Shown.NOTHING`` and where nothing is found."""
        if shown is Shown.NOTHING:
            return ""
        budget = generator.choice(BUDGETS)
        root = self._index.root
        cursor = Cursor(
            str(root / path), text[: hole.start] + text[hole.end :], CharOffset(hole.start), language, str(root)
        )
        providers = list(self._providers)
        if shown is Shown.DEFINITIONS:  # first: what the budget has room for begins with them
            providers.insert(0, DefinitionsProvider(self._index, self.names(path, text, hole, language)))
        items: list[Item] = []
        for provider in providers:
            if isinstance(provider, Preparing):
                provider.prepare(cursor)
            items += provider.gather(cursor, budget, Deadline.after_ms(_DEADLINE_MS))
        chosen = list(pack(items, cursor, self._tokenizer, budget).items)
        generator.shuffle(chosen)  # the place of an item must not say whether it matters
        limits = PromptLimits(context_tokens=budget, line_comment=line_comment(language))
        return context_comments(self._tokenizer, chosen, limits)
