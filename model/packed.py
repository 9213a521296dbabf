"""The packed file: a checkpoint quantised once to the form this machine computes on, then memory-mapped.

Layout: MAGIC · payload (each array at a multiple of the page size) · JSON index · index length (u64) · END.
The index holds FORMAT_VERSION, the source's fingerprint, the config, every array's place and a checksum of the payload.
It is written to a temporary file, synced and renamed, under a lock, so a reader sees a whole file or none; one that is
damaged, of another version or made from another source is written again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from platformdirs import user_cache_path
from torch import Tensor

from holefill.kernels.quant_linear import Weight
from holefill.model.checkpoint import open_checkpoint
from holefill.model.config import ModelConfig
from holefill.model.errors import CheckpointError
from holefill.model.forms import Form
from holefill.model.weights import Progress, Slot, Source, Weights, each_slot, read_dense, slots

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
"""Raise it whenever the same source would give other bytes or an index of other meaning: layout, slots, rounding. Where
that happens to one form alone, raise ``Form.version``: files of the other forms stay good."""

MAGIC, END = b"holefill packed\0", b"\0end of packed\0\0"
ALIGNMENT = 4096  # pages: dropping one matrix never drops a part of its neighbour
SAMPLE_BYTES = 1 << 20
SUM_BYTES = 1 << 26
DTYPES = {"int8": torch.int8, "uint8": torch.uint8, "float32": torch.float32}

T = TypeVar("T")


def load_packed(path: Path, form: Form, build: Callable[[Weights], T], progress: Progress | None = None) -> T:
    """``build`` gets weights mapped from the packed file, which is made first where it is missing or unusable.

    Where the form's back end copies what it computes with, the mapped pages leave memory after ``build``; rows of the
    embedding come back as they are looked up. Raises CheckpointError when the source itself is unusable.
    """
    fingerprint = fingerprint_of(path)
    for target in packed_paths(path, form):
        mapped = PackedFile.open(target, form, fingerprint)
        if mapped is not None:
            return mapped.use(build)
    source = open_checkpoint(path)
    for target in packed_paths(path, form):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{target}.lock"):
                mapped = PackedFile.open(target, form, fingerprint)  # another process may have just written it
                if mapped is None:
                    write_packed(target, form, source, fingerprint, progress)
                    mapped = PackedFile.open(target, form, fingerprint)
        except OSError as error:
            log.warning("cannot write %s (%s)", target, error.strerror or error)
            continue
        if mapped is not None:
            return mapped.use(build)
    log.warning("no packed file could be kept: every start will quantise the model again")
    return build(Weights(source.config, {slot.name: value for slot, value in _quantized(form, source, progress)}))


def packed_paths(path: Path, form: Form) -> tuple[Path, Path]:
    """Where the packed file of a model may be, best first: beside the model, or in the user's cache folder."""
    path = path.resolve()
    beside = path / f"holefill.{form.name}" if path.is_dir() else path.with_name(f"{path.name}.{form.name}")
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    return beside, user_cache_path("holefill") / "packed" / f"{path.name}-{digest}.{form.name}"


def fingerprint_of(path: Path) -> str:
    """Changes with the content: name, size, mtime and both ends (1 MiB each) of every file read; not a full hash,
    which would cost seconds at every start."""
    files = sorted([*path.glob("*.json"), *path.glob("*.safetensors")]) if path.is_dir() else [path]
    digest = hashlib.sha256()
    try:
        for file in files:
            status = file.stat()
            digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
            with file.open("rb") as stream:
                digest.update(stream.read(SAMPLE_BYTES))
                stream.seek(max(0, status.st_size - SAMPLE_BYTES))
                digest.update(stream.read(SAMPLE_BYTES))
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no model at {path}; name a GGUF file or a Hugging Face folder") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


class _Passing(Mapping[str, Weight]):
    """Mapped weights read one after the other: asking for the next drops the pages of those before it.

    What had been mapped stays valid, its pages are only read again. Without this a start would peak at twice the
    model: the mapped codes and the copy in the order the back end wants.
    """

    def __init__(self, mapping: mmap.mmap, weights: Mapping[str, Weight]) -> None:
        self._mapping, self._weights = mapping, weights

    def __getitem__(self, name: str) -> Weight:
        self._mapping.madvise(mmap.MADV_DONTNEED)
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


class PackedFile:
    """A mapped packed file whose index and checksum have been verified."""

    def __init__(self, mapping: mmap.mmap, form: Form, index: dict[str, Any]) -> None:
        config = ModelConfig.from_json(index["config"])
        by_slot = dict(_by_slot(mapping, form, config, index))
        self._mapping, self._form = mapping, form
        self._weights = Weights(config, _Passing(mapping, by_slot) if form.copies else by_slot)

    @classmethod
    def open(cls, path: Path, form: Form, fingerprint: str) -> PackedFile | None:
        """None, with the reason logged, when the file is missing, damaged, or not made from this source."""
        try:
            with path.open("rb") as stream:
                mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)  # torch wants writable memory
        except (OSError, ValueError) as error:
            log.debug("no packed file at %s: %s", path, error)
            return None
        try:
            index = _read_index(mapping)
            if index.get("form_version", 1) != form.version:
                raise ValueError(f"{form.name} weights are now packed in another way")
            if index["fingerprint"] != fingerprint:
                raise ValueError("it was made from another version of the model")
            if _mapped_sum(mapping, index["end"], drop=form.copies) != index["checksum"]:
                raise ValueError("its checksum is wrong")
            return cls(mapping, form, index)
        except (ValueError, KeyError, TypeError, struct.error) as error:
            log.warning("packing %s again: %s", path, error)
            return None

    def use(self, build: Callable[[Weights], T]) -> T:
        try:
            return build(self._weights)
        finally:
            if self._form.copies:
                self._mapping.madvise(mmap.MADV_DONTNEED)


def write_packed(path: Path, form: Form, source: Source, fingerprint: str, progress: Progress | None = None) -> None:
    """Writes beside ``path`` and renames. Raises OSError; nothing is left behind then."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            _write(stream, form, source, fingerprint, progress)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _quantized(form: Form, source: Source, progress: Progress | None) -> Iterator[tuple[Slot, Weight]]:
    def make(source: Source, slot: Slot) -> Weight:
        return form.quantize(source, slot) if slot.is_matrix else read_dense(source, slot)

    return each_slot(source, make, "packing the model (first start only)", progress)


def _write(stream: BinaryIO, form: Form, source: Source, fingerprint: str, progress: Progress | None) -> None:
    places: dict[str, tuple[str, list[int], int]] = {}
    checksum = 0

    def put(data: bytes) -> None:
        nonlocal checksum
        data += bytes(-len(data) % ALIGNMENT)
        checksum = (checksum + _word_sum(np.frombuffer(data, np.uint8))) % (1 << 64)
        stream.write(data)

    def put_array(name: str, array: Tensor) -> None:
        places[name] = (str(array.dtype).removeprefix("torch."), list(array.shape), stream.tell())
        put(array.contiguous().numpy().tobytes())

    put(MAGIC)
    layouts: dict[str, Any] = {}
    for slot, value in _quantized(form, source, progress):
        if slot.is_matrix:
            arrays, layouts[slot.name] = form.store(value)
            for name, array in arrays.items():
                put_array(f"{slot.name}.{name}", array)
        else:
            assert isinstance(value, Tensor)
            put_array(slot.name, value)
    index = json.dumps(
        {
            "version": FORMAT_VERSION,
            "form_version": form.version,
            "fingerprint": fingerprint,
            "config": source.config.to_json(),
            "arrays": places,
            "layouts": layouts,
            "end": stream.tell(),
            "checksum": checksum,
        }
    ).encode()
    stream.write(index + struct.pack("<Q", len(index)) + END)


def _read_index(mapping: mmap.mmap) -> dict[str, Any]:
    tail = len(END) + 8
    if len(mapping) < ALIGNMENT + tail or mapping[: len(MAGIC)] != MAGIC or mapping[-len(END) :] != END:
        raise ValueError("it is not a complete packed file")
    (length,) = struct.unpack_from("<Q", mapping, len(mapping) - tail)
    start = len(mapping) - tail - length
    if start < ALIGNMENT:
        raise ValueError("its index is damaged")
    index: dict[str, Any] = json.loads(mapping[start : start + length])
    if index["version"] != FORMAT_VERSION:
        raise ValueError(f"it has format {index['version']}, this program reads {FORMAT_VERSION}")
    if index["end"] != start:
        raise ValueError("its index is damaged")
    return index


def _mapped(mapping: mmap.mmap, dtype: str, shape: list[int], offset: int) -> Tensor:
    return torch.frombuffer(mapping, dtype=DTYPES[dtype], count=int(np.prod(shape)), offset=offset).view(shape)


def _by_slot(
    mapping: mmap.mmap, form: Form, config: ModelConfig, index: dict[str, Any]
) -> Iterator[tuple[str, Weight]]:
    arrays = {name: _mapped(mapping, *place) for name, place in index["arrays"].items()}
    for slot in slots(config):
        if slot.is_matrix:
            own = {name.rpartition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{slot.name}.")}
            yield slot.name, form.restore(own, index["layouts"][slot.name])
        else:
            yield slot.name, arrays[slot.name].clone()


def _mapped_sum(mapping: mmap.mmap, end: int, *, drop: bool) -> int:
    total = 0
    for start in range(0, end, SUM_BYTES):
        total += _word_sum(np.frombuffer(mapping, np.uint8, min(SUM_BYTES, end - start), start))
        if drop:
            mapping.madvise(mmap.MADV_DONTNEED)
    return total % (1 << 64)


def _word_sum(data: npt.NDArray[np.uint8]) -> int:
    """Sum of 64-bit words: memory speed, and catches every lost, zeroed or torn page; not meant against tampering."""
    return int(np.add.reduce(data.view(np.uint64), dtype=np.uint64))
