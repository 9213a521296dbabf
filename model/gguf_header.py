"""The metadata of a GGUF file, read in 0.1 s: only the header, and no per-value objects as ``gguf.GGUFReader`` makes.

The tokenizer needs the 300,000 strings of a vocabulary in every process that counts tokens; weights are read elsewhere.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little endian).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path

from holefill.model.errors import CheckpointError

MAGIC = b"GGUF"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
ALIGNMENT = 32
"""Of tensor data in bytes, where the file does not say."""
MAX_ITEMS = 1 << 24  # of one array or of all keys: more than any model has, so a damaged count fails at once

Scalar = str | int | float | bool
Value = Scalar | list[str] | tuple[int | float | bool, ...]


def read_gguf_metadata(path: Path) -> Mapping[str, Value]:
    """All key-value pairs of the header. Raises ``CheckpointError`` on a damaged, truncated or foreign file."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return _Reader(view, path).read()
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a complete GGUF file ({error}): fetch it again") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


class _Reader:
    """A cursor over the mapped file."""

    def __init__(self, view: mmap.mmap, path: Path) -> None:
        self._view = view
        self._path = path
        self._at = 0

    def read(self) -> dict[str, Value]:
        if self._view[:4] != MAGIC:
            raise CheckpointError(f"{self._path} is not a GGUF file")
        self._at = 4
        version = self._number("I")
        if version not in (2, 3):
            raise CheckpointError(f"{self._path} is GGUF version {version}; versions 2 and 3 are supported")
        tensors, keys = self._count(), self._count()
        values = {self._string(): self._value(int(self._number("I"))) for _ in range(keys)}
        alignment = values.get("general.alignment", ALIGNMENT)
        self._check_tensors(tensors, alignment if isinstance(alignment, int) and alignment > 0 else ALIGNMENT)
        return values

    def _check_tensors(self, count: int, alignment: int) -> None:
        """The last tensor begins before the file ends. A download that broke off is refused here, before anything
        reads the weights."""
        offset = 0
        for _ in range(count):
            self._string()
            dimensions = int(self._number("I"))
            self._at += 8 * dimensions + 4  # their sizes, and the type
            offset = max(offset, int(self._number("Q")))
        last = -(-self._at // alignment) * alignment + offset
        if count and last >= len(self._view):
            raise ValueError(f"it ends at byte {len(self._view)}, and its last tensor begins at {last}")

    def _number(self, code: str) -> int | float | bool:
        layout = f"<{code}"
        (value,) = struct.unpack_from(layout, self._view, self._at)
        self._at += struct.calcsize(layout)
        assert isinstance(value, (int, float))
        return value

    def _count(self) -> int:
        count = int(self._number("Q"))
        if count > MAX_ITEMS:
            raise ValueError(f"a count of {count} at byte {self._at}")
        return count

    def _string(self) -> str:
        start = self._at + 8
        end = start + int.from_bytes(self._view[self._at : start], "little")
        if end > len(self._view):
            raise ValueError(f"a string past the end at byte {self._at}")
        self._at = end
        return self._view[start:end].decode("utf-8")

    def _value(self, kind: int) -> Value:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            return self._array()
        if kind not in SCALARS:
            raise ValueError(f"value type {kind} at byte {self._at}")
        return self._number(SCALARS[kind])

    def _array(self) -> Value:
        kind, count = int(self._number("I")), self._count()
        if kind == STRING:
            return [self._string() for _ in range(count)]
        if kind not in SCALARS:
            raise ValueError(f"array of type {kind} at byte {self._at}")
        layout = f"<{count}{SCALARS[kind]}"
        values: tuple[int | float | bool, ...] = struct.unpack_from(layout, self._view, self._at)
        self._at += struct.calcsize(layout)
        return values
