"""Only these names may come next: a trie over the vocabulary's spellings, gone once a name is complete."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

import numpy as np

from holefill.model.constrain.grammar import WORD
from holefill.model.constrain.vocabulary import Vocabulary, Words

_WORD = frozenset(WORD)
Typed = bytes | None
"""What stands of the name so far; None: it is complete, everything goes."""


class Spellings:
    """The vocabulary by its bytes."""

    def __init__(self, vocabulary: Vocabulary, encode: Callable[[str], list[int]] | None = None) -> None:
        self.vocabulary = vocabulary
        self.encode = encode
        """How a text is usually spelled."""
        self.order = vocabulary.order
        self.sorted = [vocabulary.tokens[id_] for id_ in self.order]
        after = [id_ for id_ in self.order if vocabulary.tokens[id_][0] not in _WORD]
        self.after_name = vocabulary.pack(after)
        """Tokens that end a name."""

    def equal(self, text: bytes) -> list[int]:
        at, found = bisect_left(self.sorted, text), []
        while at < len(self.sorted) and self.sorted[at] == text:
            found.append(self.order[at])
            at += 1
        return found

    def beyond(self, name: bytes) -> list[int]:
        """Tokens that spell all of ``name`` and then something that ends it."""
        at, found = bisect_left(self.sorted, name), []
        while at < len(self.sorted) and self.sorted[at].startswith(name):
            token = self.sorted[at]
            if len(token) > len(name) and token[len(name)] not in _WORD:
                found.append(self.order[at])
            at += 1
        return found


class Names:
    """A ``Typed`` is its whole state, so it forks for nothing."""

    def __init__(self, spellings: Spellings, names: Iterable[str]) -> None:
        """``names``: whole continuations, whatever must stand before a name included."""
        self._spellings = spellings
        self._names = sorted({name.encode() for name in names if name})
        self._kept: dict[bytes, Words] = {}
        self._spelled: dict[bytes, tuple[int, ...]] = {}

    def begin(self) -> Typed:
        return b"" if self._names else None

    def advance(self, typed: Typed, token: bytes) -> Typed | bool:
        """The state after ``token``; False where no name goes on like this."""
        if typed is None:
            return None
        text = typed + token
        if self._candidates(text):
            return text
        complete = (name for name in self._names if text.startswith(name) and text[len(name)] not in _WORD)
        return None if any(True for _ in complete) else False

    def may_end(self, typed: Typed) -> bool:
        return typed is None or typed in self._names

    def spelling(self, typed: bytes) -> tuple[int, ...]:
        """The rest of the one name that is left; empty where several are, or none of it is."""
        found = self._spelled.get(typed)
        if found is None:
            names = self._candidates(typed)
            rest = names[0][len(typed) :] if len(names) == 1 else b""
            encode = self._spellings.encode
            found = () if encode is None or not rest else tuple(encode(rest.decode("utf-8", "ignore")))
            self._spelled[typed] = found
        return found

    def mask(self, typed: bytes) -> Words:
        found = self._kept.get(typed)
        if found is None:
            found = self._kept[typed] = self._make(typed)
        return found

    def _make(self, typed: bytes) -> Words:
        ids: set[int] = set()
        whole = False
        for name in self._candidates(typed):
            rest = name[len(typed) :]
            whole = whole or not rest
            for length in range(1, len(rest) + 1):
                ids.update(self._spellings.equal(rest[:length]))
            if rest:
                ids.update(self._spellings.beyond(rest))
        words = self._spellings.vocabulary.pack(np.array(sorted(ids), np.int64))
        return words | self._spellings.after_name if whole else words

    def _candidates(self, text: bytes) -> list[bytes]:
        start = bisect_left(self._names, text)
        end = start
        while end < len(self._names) and self._names[end].startswith(text):
            end += 1
        return self._names[start:end]
