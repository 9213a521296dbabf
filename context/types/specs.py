"""The checkers we know how to ask: how to start each, and how to write the typed hole in its language."""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holefill.context.types.transport import Json

HOLE_NAME = "_hv"
ON_PATH = "path"


@dataclass(frozen=True, slots=True)
class LspSpec:
    """A checker behind LSP. ``helper`` goes before the top-level statement of the hole, as one piece of whole lines."""

    name: str
    command: tuple[str, ...]
    languages: frozenset[str]
    helper: str
    generic_hole: str
    """Solved by the checker for the type wanted; hovering over its last ``HOLE_NAME`` tells it."""
    typed_value: str
    """``{}`` is an expression: hovering over the first ``HOLE_NAME`` tells its type. Empty: hover the expression."""
    reveal_hole: str
    """Fill whose diagnostic names the wanted type; empty: the checker has no such thing."""
    reveal_pattern: re.Pattern[str] | None
    index_call: str
    """``{0}[{1}]`` as a call, so that the index becomes an argument; empty: not possible."""
    operator_calls: dict[str, str]
    init_options: Json
    self_test: tuple[str, str]
    """A document with ``|`` at a hole of type ``str`` (call argument), and its file name."""
    cast: str = ""
    """``{}`` is a type: an expression of it. Empty: members of unions are all that the checker offers."""


_PYTHON_HELPER = (
    "from typing import Callable as _HC, TypeVar as _HTV, cast as _hcast\n"
    '_HoleT = _HTV("_HoleT")\n'
    "def _hole(f: _HC[[_HoleT], object]) -> _HoleT: ...\n"
    "def _hole0() -> _HoleT: ...\n"
)
_PYTHON_OPERATORS = {
    "+": "__add__",
    "-": "__sub__",
    "*": "__mul__",
    "/": "__truediv__",
    "//": "__floordiv__",
    "%": "__mod__",
    "**": "__pow__",
    "@": "__matmul__",
    "&": "__and__",
    "|": "__or__",
    "^": "__xor__",
}


def python_spec(root: str | None, command: tuple[str, ...] | None = None) -> LspSpec | None:
    """``ty server``, the dependency's own binary; None where it is not installed."""
    found = command or _ty_command()
    if found is None:
        return None
    interpreter = _interpreter(root)
    environment: Json = {"environment": {"python": interpreter}} if interpreter else {}
    return LspSpec(
        name="ty",
        command=found,
        languages=frozenset({"python"}),
        helper=_PYTHON_HELPER,
        generic_hole=f"_hole(lambda {HOLE_NAME}: {HOLE_NAME})",
        typed_value=f"({HOLE_NAME} := {{}})",
        reveal_hole="reveal_type(_hole0())",
        reveal_pattern=re.compile(r"^Revealed type: `(.*)`$", re.S),
        index_call="{0}.__getitem__({1})",
        operator_calls=_PYTHON_OPERATORS,
        # Without it ty resolves imports from the environment it is installed in, which is ours.
        init_options={"configuration": environment},
        self_test=("def f(a: int, b: str) -> None: ...\nf(1, |)\n", "_holefill_self_test.py"),
        cast='_hcast("{}", 0)',
    )


def typescript_spec(root: str | None, setting: str = "") -> LspSpec | None:
    """TypeScript 7's native ``tsc --lsp``, or None where there is none.

    ``setting``: its executable, or the script that npm calls so; "": the workspace's own, else the one on PATH;
    ``ON_PATH``: that one alone, so that no program which came with the workspace is run.
    """
    binary = next(_tsc_binaries(root, setting), None)
    if binary is None:
        return None
    return LspSpec(
        name="tsc",
        command=(binary, "--lsp", "--stdio"),
        languages=frozenset({"typescript", "tsx", "javascript"}),
        helper="declare function _hole<T>(f: (x: T) => unknown): T;\n",
        generic_hole=f"_hole({HOLE_NAME} => {HOLE_NAME})",
        typed_value="",
        reveal_hole="",
        reveal_pattern=None,
        index_call="",
        operator_calls={},
        init_options={},
        self_test=("function f(a: number, b: string): void {}\nf(1, |);\n", "_holefill_self_test.ts"),
    )


def _ty_command() -> tuple[str, ...] | None:
    name = "ty" + (sysconfig.get_config_var("EXE") or "")
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.is_file() else shutil.which("ty")
    return (found, "server") if found else None


def _interpreter(root: str | None) -> str | None:
    """The workspace's own environment, else the active one, else a Python that is not ours."""
    for folder in (".venv", "venv", "env"):
        if root is not None and (Path(root) / folder / "pyvenv.cfg").is_file():
            return str(Path(root) / folder)
    active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    if active and Path(active).resolve() != Path(sys.prefix).resolve():
        return active
    return shutil.which("python3") or shutil.which("python")


def _tsc_binaries(root: str | None, setting: str) -> Iterator[str]:
    if setting not in ("", ON_PATH):
        yield from _natives(Path(setting).expanduser())
        return
    if root is not None and setting != ON_PATH:
        yield from _installed(Path(root))
    for name in ("tsgo", "tsc"):
        if found := shutil.which(name):
            yield from _natives(Path(found))


def _natives(program: Path) -> Iterator[str]:
    """``program``, or what the script that npm and pnpm call ``tsc`` would start: without Node."""
    if not program.is_file():
        return
    resolved = program.resolve()
    if _is_native(resolved):
        yield str(program)
    else:
        yield from _installed(resolved.parent)


def _installed(folder: Path) -> Iterator[str]:
    """Of the ``typescript`` that Node finds from there. The platform's part lies beside it, or within it, or where pnpm
    keeps both."""
    for modules in _node_modules(folder):
        packages = [modules / name for name in ("typescript", "@typescript/native-preview")]
        linked = [home for package in packages if package.is_dir() for home in _node_modules(package.resolve())]
        for home in (modules, *linked):
            for pattern in ("@typescript/typescript-*/lib/tsc*", "@typescript/native-preview-*/lib/tsgo*"):
                yield from (str(found) for found in sorted(home.glob(pattern)) if _is_native(found))


def _node_modules(folder: Path) -> list[Path]:
    return [parent / "node_modules" for parent in (folder, *folder.parents)]


def _is_native(path: Path) -> bool:
    if path.suffix not in ("", ".exe") or not os.access(path, os.X_OK):
        return False
    with path.open("rb") as file:
        return file.read(2) != b"#!"
