"""One request's constraint while it is decoded, and the shop that makes them."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from holefill.model.constrain.constraint import Constraint
from holefill.model.constrain.documents import Documents, can_close
from holefill.model.constrain.languages import FRAGMENTS, GRAMMAR_VERSION, LANGUAGES, automaton
from holefill.model.constrain.lexing import State, Suffix
from holefill.model.constrain.masks import Masks
from holefill.model.constrain.names import Names, Spellings, Typed
from holefill.model.constrain.tables import load_or_build
from holefill.model.constrain.vocabulary import Vocabulary, sole
from holefill.model.spec.tree import DraftTree, Forced
from holefill.model.tokenizer import Tokenizer

log = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024
"""Of a file: a longer one takes too long to lex between two keys."""


class Off(StrEnum):
    """Why a request runs without its constraint."""

    LANGUAGE = "language"
    SIZE = "size"
    PREFIX = "prefix"
    """What stands before the hole does not lex."""
    SUFFIX = "suffix"
    """What follows closes nothing that the hole could leave open."""
    EDIT = "edit"
    """The request says that the file is in the middle of another edit."""
    TABLES = "tables"
    """They are being made."""


class Guide:
    """What may come next. Mutable in one place, ``commit``; a fork shares everything and costs nothing."""

    def __init__(self, masks: Masks, state: State, suffix: Suffix, names: Names | None) -> None:
        self._masks = masks
        self._vocabulary = masks.vocabulary
        self._suffix = suffix
        self._names = names
        self._state = state
        self._typed: Typed = None if names is None else names.begin()

    def fork(self) -> Guide:
        twin = Guide(self._masks, self._state, self._suffix, self._names)
        twin._typed = self._typed
        return twin

    def commit(self, tokens: Sequence[int]) -> None:
        """``tokens`` were allowed, one after the other."""
        for token in tokens:
            following = self._after(self._state, self._typed, token)
            if following is not None:
                self._state, self._typed = following

    def first_forbidden(self, tokens: Sequence[int]) -> int | None:
        """Index of the first of ``tokens``, one after the other, that may not stand there."""
        state, typed = self._state, self._typed
        for index, token in enumerate(tokens):
            following = self._after(state, typed, token)
            if following is None:
                return index
            state, typed = following
        return None

    def prune(self, tree: DraftTree) -> DraftTree:
        """Without the nodes that may not stand where they do, and what hangs on them."""
        if len(tree) == 1:
            return tree
        kept = [node for node, place in enumerate(self._places(tree)) if place is not None]
        return tree if len(kept) == len(tree) else tree.keep(kept)

    def forced(self, most: int) -> tuple[Forced, ...]:
        """What must come next, at most ``most`` tokens, as far as there is no choice.

        Looked for only where it can be: in a lexer mode that does not let two tokens through whatever else holds, and
        where one name is left. Elsewhere (nearly always) this builds no mask.
        """
        found: list[Forced] = []
        state, typed = self._state, self._typed
        while len(found) < most and (step := self._forced_at(state, typed)):
            for forced in step[: most - len(found)]:
                following = self._after(state, typed, forced.token)
                if following is None:
                    return tuple(found)
                found.append(forced)
                state, typed = following
        return tuple(found)

    def _forced_at(self, state: State, typed: Typed) -> tuple[Forced, ...]:
        spelling: tuple[int, ...] = ()
        if self._names is not None and typed is not None:
            spelling = self._names.spelling(typed)
            if not spelling:
                return ()
        elif self._masks.leaves_choice(state):
            return ()
        token = sole(self._row(state, typed))
        if token is None:
            return tuple(Forced(one, False) for one in spelling)
        return () if token in self._vocabulary.stop_ids else (Forced(token, True),)

    def words(self, tree: DraftTree) -> NDArray[np.int32]:
        """[len(tree), words]: what may follow each node; everything after a node that may not stand itself."""
        places = self._places(tree)
        rows = [np.full(self._vocabulary.words, -1, np.int32) if p is None else self._row(*p) for p in places]
        return np.stack(rows)

    def _places(self, tree: DraftTree) -> list[tuple[State, Typed] | None]:
        places: list[tuple[State, Typed] | None] = [(self._state, self._typed)]
        for token, parent in zip(tree.token[1:], tree.parent[1:], strict=True):
            above = places[parent]
            places.append(None if above is None else self._after(*above, token))
        return places

    def _after(self, state: State, typed: Typed, token: int) -> tuple[State, Typed] | None:
        """The place after ``token``; None where it may not stand. Nothing changes at a stop token."""
        if token in self._vocabulary.stop_ids:
            return (state, typed) if self._may_end(state, typed) else None
        text = self._vocabulary.tokens[token] if token < len(self._vocabulary.tokens) else b""
        after = self._masks.automaton.run(state, text) if text else ()
        if not after:
            return None
        if self._names is not None and typed is not None:
            following = self._names.advance(typed, text)
            if isinstance(following, bool):
                return None
            typed = following
        return after, typed

    def _row(self, state: State, typed: Typed) -> NDArray[np.int32]:
        words = self._masks.of(state)
        if self._names is not None and typed is not None:
            words = words & self._names.mask(typed)
        if self._may_end(state, typed):
            words = words | self._masks.stop_words
        if not words.any():  # nothing fits: better a free answer than none
            return np.full_like(words, -1)
        return words

    def _may_end(self, state: State, typed: Typed) -> bool:
        return (self._names is None or self._names.may_end(typed)) and self._suffix.closes(state)


class Guides:
    """Of one tokenizer. Tables are made once, in the background unless ``wait``, and kept on disk."""

    def __init__(self, tokenizer: Tokenizer, folder: Path | None = None, *, wait: bool = False) -> None:
        self._tokenizer = tokenizer
        self._folder = folder
        self._wait = wait
        self._lock = threading.Lock()
        self._masks: dict[str, Masks | None] = {}
        self._documents = Documents()
        self.tally: Counter[str] = Counter()
        """Requests guided ("on"), and those that were not, by reason."""

    def guide(self, constraint: Constraint) -> Guide | None:
        made = self._make(constraint)
        self.tally["on" if isinstance(made, Guide) else made.value] += 1
        return made if isinstance(made, Guide) else None

    def _make(self, constraint: Constraint) -> Guide | Off:
        if constraint.language not in LANGUAGES:
            return Off.LANGUAGE
        prefix, suffix = (text.encode("utf-8", "replace") for text in (constraint.prefix, constraint.suffix))
        if len(prefix) + len(suffix) > MAX_BYTES:
            return Off.SIZE
        masks = self.masks(constraint.language)
        if masks is None:
            return Off.TABLES
        document = self._documents.of(masks.automaton, prefix)
        state, rest = document.before(prefix), document.after(suffix)
        names = Names(self._spellings, constraint.names) if constraint.names else None
        closes = bool(state) and can_close(masks.automaton, state, rest, constraint.language in FRAGMENTS)
        if closes and not constraint.unfinished:
            return Guide(masks, state, rest, names)
        if names is not None:  # they hold whatever stands around the hole
            return Guide(masks, masks.automaton.anything(), Suffix(masks.automaton, b""), names)
        return Off.EDIT if closes else Off.SUFFIX if state else Off.PREFIX

    def masks(self, language: str) -> Masks | None:
        """None while they are made."""
        with self._lock:
            if language in self._masks:
                return self._masks[language]
            self._masks[language] = None
        if self._wait:
            self._load(language)
        else:
            threading.Thread(target=self._load, args=(language,), name="constraint tables", daemon=True).start()
        return self._masks[language]

    def _load(self, language: str) -> None:
        lexer = automaton(language)
        tables = load_or_build(lexer.grammar, GRAMMAR_VERSION, self.vocabulary, self._folder)
        self._spellings  # noqa: B018  (made here rather than in a request)
        self._masks[language] = Masks(lexer, self.vocabulary, tables)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.of(self._tokenizer)

    @cached_property
    def _spellings(self) -> Spellings:
        return Spellings(self.vocabulary, self._tokenizer.encode)


def default_folder() -> Path:
    home = os.environ.get("HOLEFILL_HOME")
    return Path(home).expanduser() / "masks" if home else platformdirs.user_cache_path("holefill", False) / "masks"
