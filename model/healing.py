"""Token healing: a word half typed at the cursor is left out of the prompt, and the answer must begin with it.

Tokens of a half word are not those of the whole one, so the model would see what it never saw in training. And while
the word is typed the prompt stays the same, so that a key costs no prefill.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import torch

from holefill.model.tokenizer import Tokenizer

MAX_TYPED = 64
"""Characters; a longer word stays in the prompt."""


class Spellings:
    """All tokens in the order of their bytes; made once per vocabulary (0.3 s for 152,000 tokens)."""

    def __init__(self, spellings: Sequence[bytes]) -> None:
        """The bytes of every token by id; b"" for one that is no text (special, unused)."""
        self._size = len(spellings)
        self._order = sorted((id_ for id_ in range(self._size) if spellings[id_]), key=spellings.__getitem__)
        self._sorted = [spellings[id_] for id_ in self._order]

    def agreeing(self, typed: bytes) -> list[int]:
        """Tokens that begin with ``typed`` or that ``typed`` begins with."""
        at = bisect_left(self._sorted, typed)
        found = []
        while at < len(self._sorted) and self._sorted[at].startswith(typed):
            found.append(self._order[at])
            at += 1
        for length in range(1, len(typed)):
            part = typed[:length]
            at = bisect_left(self._sorted, part)
            while at < len(self._sorted) and self._sorted[at] == part:
                found.append(self._order[at])
                at += 1
        return found


class Healing:
    """The typed characters of one request, as far as the answer has not repeated them."""

    def __init__(self, spellings: Spellings, typed: str) -> None:
        self._spellings = spellings
        self.left = typed.encode()

    def mask(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits [1, vocab] with everything else at −∞: the law given what was typed."""
        allowed = torch.tensor(self._spellings.agreeing(self.left), device=logits.device)
        kept = torch.full_like(logits, float("-inf"))
        kept[:, allowed] = logits[:, allowed]
        return kept

    def take(self, spelled: bytes) -> None:
        self.left = self.left[len(spelled) :]


class Healer:
    """Begins the healing of requests. The spellings are made by the first that needs them."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: int) -> None:
        """``vocabulary``: rows of the embedding, which may have more than the tokenizer."""
        self._tokenizer, self._vocabulary = tokenizer, vocabulary
        self._spellings: Spellings | None = None

    def begin(self, typed: str) -> Healing | None:
        """None where nothing is typed."""
        return Healing(self.spellings(), typed) if typed else None

    def spellings(self) -> Spellings:
        if self._spellings is None:
            special = set(self._tokenizer.specials.values())
            ids = range(self._vocabulary)
            self._spellings = Spellings([b"" if id_ in special else self._tokenizer.token_bytes(id_) for id_ in ids])
        return self._spellings
