"""Source packages of the registries: named in a table, fetched by the registries' own clients, read without unpacking.

Wheels and npm tarballs only: neither runs code of the package to be read, which building an sdist would.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from holefill.evaluation.cases import DataError

_MAX_BYTES = 200_000
_PERMISSIVE = re.compile(
    r"(?:mit|bsd|isc|apache|0bsd|zlib|unlicense|python-2\.0|psf|new bsd|3-clause|2-clause|cc0|and|or|with|software|"
    r"licen[cs]e|version|clause|the|osi|approved|[\d.,:()/-])+",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Package:
    """One row of ``packages.toml``."""

    registry: str
    """pypi or npm."""
    name: str
    version: str
    languages: tuple[str, ...] = ()
    """Only these; all when empty."""
    held_out: bool = False
    """Only measured on, never trained on."""

    @property
    def label(self) -> str:
        return f"{self.registry}:{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Archive:
    package: Package
    path: Path
    licence: str
    sha256: str

    def files(self) -> Iterator[tuple[str, str]]:
        """(path, text) of every text file under 200 kB, in the order of their paths, with ``\\n`` line ends."""
        for name, data in sorted(_members(self.path)):
            if len(data) <= _MAX_BYTES and b"\0" not in data:
                yield name, data.decode("utf-8", "replace").replace("\r\n", "\n")


def read_table(path: Path) -> list[Package]:
    try:
        rows = tomllib.loads(path.read_text("utf-8"))["package"]
        return [Package(**{**row, "languages": tuple(row.get("languages", ()))}) for row in rows]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} is no table of packages ({error!r})") from error


def fetch(package: Package, folder: Path) -> Archive:
    """From ``folder`` where it is already there. Raises DataError when it cannot be had or is not permissive."""
    path = _find(package, folder)
    if path is None:
        folder.mkdir(parents=True, exist_ok=True)
        _download(package, folder)
        path = _find(package, folder)
    if path is None:
        raise DataError(f"{package.label} has no archive that can be read without building it: leave it out")
    licence = _licence(path)
    if not is_permissive(licence):
        raise DataError(
            f"{package.label} is under {licence or 'no stated licence'}, not a permissive one: leave it out"
        )
    return Archive(package, path, licence, hashlib.sha256(path.read_bytes()).hexdigest())


def is_permissive(licence: str) -> bool:
    """Whether every word of it belongs to a permissive licence's name: unknown words refuse."""
    return bool(licence.strip()) and all(_PERMISSIVE.fullmatch(word) for word in licence.replace("::", " ").split())


def _find(package: Package, folder: Path) -> Path | None:
    stem = (
        package.name.lstrip("@").replace("/", "-") if package.registry == "npm" else re.sub(r"[-.]+", "_", package.name)
    )
    pattern = f"{stem}-{package.version}.tgz" if package.registry == "npm" else f"{stem}-{package.version}-*.whl"
    found = sorted(path for path in folder.glob("*") if re.fullmatch(_glob(pattern), path.name, re.I))
    return found[0] if found else None


def _glob(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", ".*")


def _download(package: Package, folder: Path) -> None:
    if package.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise DataError("npm packages need npm: install Node.js, or leave their rows out")
        command = [npm, "pack", f"{package.name}@{package.version}", "--silent"]
    else:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command.append(f"{package.name}=={package.version}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise DataError(f"{package.label} cannot be fetched: {reason[-1] if reason else 'no reason given'}")


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir() and info.file_size <= _MAX_BYTES:
                    yield info.filename, archive.read(info)
        return
    with tarfile.open(path) as archive:
        for member in archive:
            opened = archive.extractfile(member) if member.isfile() and member.size <= _MAX_BYTES else None
            if opened is not None:
                yield member.name.partition("/")[2], opened.read()


def _licence(path: Path) -> str:
    for name, data in _members(path):
        if path.suffix == ".whl" and re.fullmatch(r"[^/]+\.dist-info/METADATA", name):
            return _wheel_licence(HeaderParser().parsestr(data.decode("utf-8", "replace")).items())
        if path.suffix == ".tgz" and name == "package.json":
            return _npm_licence(json.loads(data))
    return ""


def _wheel_licence(headers: list[tuple[str, str]]) -> str:
    classifiers = [value for name, value in headers if name == "Classifier" and value.startswith("License ::")]
    named = dict(headers)
    if "License-Expression" in named:
        return named["License-Expression"]
    if classifiers:
        return ", ".join(value.rpartition(":: ")[2] for value in classifiers)
    return named.get("License", "").splitlines()[0] if named.get("License", "").strip() else ""


def _npm_licence(package: Mapping[str, object]) -> str:
    licence = package.get("license", "")
    return str(licence.get("type", "")) if isinstance(licence, dict) else str(licence)
