"""The model's tokens as bytes, arranged for running a lexer over all of them at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from holefill.model.tokenizer import Tokenizer

WORD_BITS = 32
Words = NDArray[np.int32]
"""Packed bits [⌈vocab / 32⌉]: bit t % 32 of word t // 32 is token t, 1 = allowed (``kernels.token_mask``)."""
Ids = NDArray[np.int32]


class Vocabulary:
    """``tokens[id]`` is empty for ids that are no text: control tokens and unused rows."""

    def __init__(self, tokens: Iterable[bytes], stop_ids: Iterable[int] = ()) -> None:
        self.tokens = tuple(tokens)
        self.stop_ids = frozenset(stop_ids)
        self.words = -(-len(self.tokens) // WORD_BITS)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Vocabulary:
        control = set(tokenizer.specials.values()) | tokenizer.stop_ids
        tokens = (b"" if id_ in control else tokenizer.token_bytes(id_) for id_ in range(tokenizer.vocab_size))
        return cls(tokens, tokenizer.stop_ids)

    @cached_property
    def key(self) -> str:
        digest = hashlib.sha256()
        for token in self.tokens:
            digest.update(len(token).to_bytes(4, "little") + token)
        return digest.hexdigest()

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Ids of texts, sorted by their bytes: neighbours share their beginnings."""
        return tuple(sorted((id_ for id_, token in enumerate(self.tokens) if token), key=self.tokens.__getitem__))

    @cached_property
    def columns(self) -> tuple[tuple[Ids, NDArray[np.uint8]], ...]:
        """Per position in a token: the ids that are long enough, and their byte there."""
        found = []
        ids = [id_ for id_, token in enumerate(self.tokens) if token]
        position = 0
        while ids:
            bytes_ = np.array([self.tokens[id_][position] for id_ in ids], np.uint8)
            found.append((np.array(ids, np.int32), bytes_))
            position += 1
            ids = [id_ for id_ in ids if len(self.tokens[id_]) > position]
        return tuple(found)

    def pack(self, ids: Iterable[int] | Ids) -> Words:
        bits = np.zeros(self.words * WORD_BITS, np.uint8)
        bits[np.asarray(list(ids) if not isinstance(ids, np.ndarray) else ids, np.int64)] = 1
        return np.packbits(bits, bitorder="little").view(np.int32)


def unpack(words: NDArray[np.int32], size: int) -> NDArray[np.bool_]:
    """[..., words] → bool [..., size]."""
    return np.unpackbits(words.view(np.uint8), axis=-1, count=size, bitorder="little").astype(np.bool_)


def sole(words: Words) -> int | None:
    """The only token that is allowed; None where there are several, or none."""
    at = np.flatnonzero(words)
    if len(at) != 1:
        return None
    word = int(words[at[0]]) & (1 << WORD_BITS) - 1
    return None if word & (word - 1) else int(at[0]) * WORD_BITS + word.bit_length() - 1


def allowed(words: Words, token: int) -> bool:
    return bool((int(words[token // WORD_BITS]) >> (token % WORD_BITS)) & 1)
