"""What an editable install hides: packages and data files missing from the wheel, short names that leak."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SETUPTOOLS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
FOLDERS: dict[str, str] = {folder: name for name, folder in SETUPTOOLS["package-dir"].items()}
NOT_SHIPPED = {"__pycache__", "results", "build"}
"""Folders that hold no part of the installed program."""
NOT_DATA = {".py", ".pyc", ".md", ".so", ".o"}


def package_of(folder: Path) -> str:
    first, *rest = folder.relative_to(REPOSITORY).parts
    return ".".join([FOLDERS[first], *rest])


def files() -> list[Path]:
    found = [path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*") if path.is_file()]
    return [path for path in found if not NOT_SHIPPED & set(path.relative_to(REPOSITORY).parts)]


def test_every_folder_with_python_files_is_a_listed_package() -> None:
    present = {package_of(path.parent) for path in files() if path.suffix == ".py"}
    assert present == set(SETUPTOOLS["packages"])


def test_every_data_file_is_in_the_wheel() -> None:
    patterns = [f"{package}/{pattern}" for package, rows in SETUPTOOLS["package-data"].items() for pattern in rows]

    def shipped(path: Path) -> bool:
        parents = [parent for parent in path.parents if parent.is_relative_to(REPOSITORY) and parent != REPOSITORY]
        names = (f"{package_of(parent)}/{path.relative_to(parent)}" for parent in parents)
        return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)

    assert [str(path) for path in files() if path.suffix not in NOT_DATA and not shipped(path)] == []


def test_short_names_do_not_resolve_into_the_repository() -> None:
    """`transformers` probes for a package called `kernels`: it must not find ours."""
    code = (
        "import importlib.util as u, sys\n"
        "for name in sys.argv[1:]:\n"
        "    spec = u.find_spec(name)\n"
        "    print(name, *((spec.origin, *(spec.submodule_search_locations or ())) if spec else ()))\n"
    )
    command = [sys.executable, "-P", "-c", code, *FOLDERS]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == len(FOLDERS)
    assert not [line for line in lines if any(str(REPOSITORY / folder) in line for folder in FOLDERS)]


@pytest.mark.parametrize("entry", sorted(importlib.metadata.entry_points(group="holefill.commands").names))
def test_entry_point_loads(entry: str) -> None:
    (point,) = importlib.metadata.entry_points(group="holefill.commands", name=entry)
    assert callable(point.load())


def test_installed_version_is_the_projects() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    assert importlib.metadata.version("holefill") == project["version"]
