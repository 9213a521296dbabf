"""Fingerprints of the text an adapter was trained on, so that no answer repeats it at length. Imports no torch.

Winnowing (Schleimer, Wilkerson and Aiken 2003) over text without white space: of every ``WINDOW`` successive runs of
``RUN`` characters the least hash is kept. An equal stretch of ``RUN + WINDOW - 1`` characters is always found, one
shorter than ``RUN`` never. Words that look drawn at random are kept whole, whatever their length: a key of a shape that
nobody knows is shorter than any run.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

from holefill.model.errors import ModelError

RUN, WINDOW = 60, 41
CERTAIN = RUN + WINDOW - 1
"""Characters without white space of which a copy is found for certain; about 35 tokens of code."""
SUFFIX = ".copies"
_MAGIC = b"holefill copies 1\n"
_BUCKETS = 1 << 16
_BYTES = 3
"""Of a hash below its bucket's 16 bits: 40 bits in all, so that one answer in 100,000 is taken for a copy by chance."""
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z0-9]{20,}(?![A-Za-z0-9_])")
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]|[0-9]")
_DRAWN = 2.5
"""Mean length of the pieces (``Name``, ``name``, one capital, one digit) up to which a word looks drawn at random: 1.5
for letters and digits, 1.2 for hexadecimal digits, above 3 for names in camelCase."""


class CopiesError(ModelError):
    """A file of fingerprints that cannot be read."""


def squeezed(text: str) -> str:
    """Without white space: a copy indented otherwise is a copy."""
    return _SPACE.sub("", text)


class Fingerprints:
    """A sorted set of 40-bit hashes, by their first 16 bits; 3 bytes each."""

    def __init__(self, hashes: Iterable[int]) -> None:
        ordered = sorted(set(hashes))
        counts = [0] * _BUCKETS
        for value in ordered:
            counts[value >> 8 * _BYTES] += 1
        rest = b"".join((value & (1 << 8 * _BYTES) - 1).to_bytes(_BYTES, "big") for value in ordered)
        self._fill(counts, rest)

    def _fill(self, counts: list[int], rest: bytes) -> None:
        self._ends = list(accumulate(counts, initial=0))
        self._rest = rest

    def __len__(self) -> int:
        return self._ends[-1]

    def __iter__(self) -> Iterator[int]:
        for bucket in range(_BUCKETS):
            for index in range(self._ends[bucket], self._ends[bucket + 1]):
                yield bucket << 8 * _BYTES | self._at(index)

    def __contains__(self, value: int) -> bool:
        bucket, low = value >> 8 * _BYTES, value & (1 << 8 * _BYTES) - 1
        first, end = self._ends[bucket], self._ends[bucket + 1]
        index = bisect_left(range(first, end), low, key=self._at)
        return first + index < end and self._at(first + index) == low

    def _at(self, index: int) -> int:
        return int.from_bytes(self._rest[index * _BYTES : (index + 1) * _BYTES], "big")

    def found(self, text: str) -> list[str]:
        """The runs and random-looking words of ``text`` that stand in the training text, without white space."""
        words = [word for word in random_words(text) if _hash(word) in self]
        return words + [run for run in _runs(squeezed(text)) if _hash(run) in self]

    def save(self, path: Path) -> None:
        counts = (end - first for first, end in zip(self._ends, self._ends[1:], strict=False))
        temporary = path.with_name(f"{path.name}.part")
        temporary.write_bytes(_MAGIC + b"".join(count.to_bytes(2, "big") for count in counts) + self._rest)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Fingerprints:
        """Raises CopiesError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CopiesError(f"cannot read {path}: {error.strerror or error}") from error
        first = len(_MAGIC) + 2 * _BUCKETS
        table = data[len(_MAGIC) : first]
        counts = [int.from_bytes(table[at : at + 2], "big") for at in range(0, len(table), 2)]
        if not data.startswith(_MAGIC) or len(data) - first != _BYTES * sum(counts):
            raise CopiesError(f"{path} is damaged or of another version: build it with `holefill train copies`")
        made = cls(())
        made._fill(counts, data[first:])
        return made


def fingerprints_of(texts: Iterable[str]) -> Fingerprints:
    return Fingerprints(value for text in texts for value in (*_winnowed(squeezed(text)), *_words(text)))


def copies_beside(adapter: Path | None) -> Fingerprints | None:
    """Of the text that the adapter of that file learned; None where nobody wrote them down."""
    path = None if adapter is None else adapter.with_suffix(SUFFIX)
    return Fingerprints.load(path) if path is not None and path.is_file() else None


def random_words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text) if _looks_drawn(word)]


def _looks_drawn(word: str) -> bool:
    pieces = _PIECE.findall(word.lower() if word.upper() == word else word)
    return any(map(str.isdigit, pieces)) and len(word) <= _DRAWN * len(pieces)


def _words(text: str) -> Iterator[int]:
    return map(_hash, random_words(text))


def _runs(text: str) -> Iterator[str]:
    return (text[first : first + RUN] for first in range(len(text) - RUN + 1))


def _winnowed(text: str) -> Iterator[int]:
    """The least hash of every window, once for each time it changes; of the one window of a short text too."""
    hashes = [_hash(run) for run in _runs(text)]
    least = -1
    for end in range(min(WINDOW, len(hashes)), len(hashes) + 1) if hashes else ():
        first = max(0, end - WINDOW)
        if least < first:
            least = min(range(first, end), key=hashes.__getitem__)
        elif hashes[end - 1] <= hashes[least]:
            least = end - 1
        else:
            continue
        yield hashes[least]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=2 + _BYTES).digest(), "big")
