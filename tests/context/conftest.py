"""A toy tokenizer with the pre-tokenisation of code models: enough to test windows, packing and prompts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pytest

_PIECES = re.compile(r"\s*[\r\n]+|[^\S\r\n]+(?!\S)| ?\w{1,4}|\w{1,4}| ?[^\s\w]{1,3}|\s", re.UNICODE)


class ToyTokenizer:
    """Ids are handed out as pieces appear; special tokens come first and are never produced by ``encode``."""

    def __init__(self, specials: Iterable[str] = ()) -> None:
        self._specials = {name: index for index, name in enumerate(specials)}
        self._pieces: list[str] = list(self._specials)
        self._ids: dict[str, int] = {}
        self.encoded_chars = 0

    def encode(self, text: str) -> list[int]:
        self.encoded_chars += len(text)
        return [self._id(piece) for piece in _PIECES.findall(text)]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self._pieces[token] for token in ids)

    def special_id(self, name: str) -> int | None:
        return self._specials.get(name)

    def _id(self, piece: str) -> int:
        if piece not in self._ids:
            self._ids[piece] = len(self._pieces)
            self._pieces.append(piece)
        return self._ids[piece]


QWEN_SPECIALS = (
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<|im_start|>",
    "<|im_end|>",
)


@pytest.fixture
def tokenizer() -> ToyTokenizer:
    return ToyTokenizer(QWEN_SPECIALS)


@pytest.fixture(scope="session")
def make_tokenizer() -> type[ToyTokenizer]:
    return ToyTokenizer
