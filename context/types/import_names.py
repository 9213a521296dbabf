"""A name that is not bound here → the statement that brings it in: as other files of the workspace do it, else from
the only file that defines it."""

from __future__ import annotations

import posixpath
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from holefill.context.index.import_statements import MODULE, STAR, Import
from holefill.context.index.records import FileRecord, Located
from holefill.context.index.workspace import WorkspaceIndex

ECMASCRIPT = frozenset({"typescript", "tsx", "javascript"})
_EXTENSIONS = {"py": "python", "pyi": "python", **dict.fromkeys(("ts", "tsx", "js", "jsx", "mts", "mjs"), "ecma")}
_EXPORTED = re.compile(r"^\s*export\s")
_LIKE = re.compile(r"""^\s*(?:import|export)\b[^\n]*?(["'])[^"'\n]+\1\s*(;?)""", re.M)


@dataclass(frozen=True, slots=True)
class Origin:
    """What an import takes and from where, whichever file says it. ``module``: absolute; in ECMAScript a path of the
    workspace (which begins with ``/``) or a package."""

    module: str
    name: str


def statement_for(index: WorkspaceIndex, path: str, language: str, text: str, name: str) -> str:
    """One import statement in the style of ``text``, the file at ``path``; empty where none is sure to be right."""
    family = _family(language)
    if not family:
        return ""
    here = index.relative(path) or path
    found = _usual(index, here, family, name) or _only_definition(index, here, family, name)
    if found is None and family == "python" and name in sys.stdlib_module_names:
        found = Origin(name, MODULE)
    if found is None:
        return ""
    if family == "python":
        return _python(found, name, _package(here, _packages(index)), re.search(r"^\s*from \.", text, re.M) is not None)
    if re.search(r"\brequire\(", text) and _LIKE.search(text) is None:
        return ""  # another module system
    return _ecmascript(found, name, here, text)


def _usual(index: WorkspaceIndex, here: str, family: str, name: str) -> Origin | None:
    """Where most files of the same folder have it from, else most of all."""
    packages = _packages(index) if family == "python" else frozenset()
    home, own = _home(index, here) if family != "python" else ("", "")
    near: Counter[Origin] = Counter()
    seen: Counter[Origin] = Counter()
    for record in index.importers(name):
        path = record.path
        if path == here or _family(record.language) != family:
            continue
        for origin in _origins(record, name, packages):
            foreign = origin.module.startswith("/") and not origin.module.startswith(home)
            if foreign or origin.module == own or _is_of(origin, here, packages):
                continue
            seen[origin] += 1
            near[origin] += posixpath.dirname(path) == posixpath.dirname(here)
    for counts in (+near, seen):
        for origin, count in counts.most_common(1):
            if 2 * count > counts.total():
                return origin
    return None


def _home(index: WorkspaceIndex, here: str) -> tuple[str, str]:
    """Folder and name of the package that a script belongs to: a path into another one is nobody's import, nor is the
    package's own name."""
    folder = posixpath.dirname(here)
    while folder and index.record(f"{folder}/package.json") is None:
        folder = posixpath.dirname(folder)
    record = index.record(f"{folder}/package.json".lstrip("/"))
    name = re.search(r'"name"\s*:\s*"([^"]+)"', record.config) if record is not None else None
    return (f"/{folder}/" if folder else "/"), ("" if name is None else name[1])


def _origins(record: FileRecord, name: str, packages: frozenset[str]) -> Iterator[Origin]:
    for statement in record.imports:
        for one in () if statement.reexport else statement.names:
            if one.local == name and one.name != STAR:
                yield Origin(_absolute(record, statement, packages), one.name)


def _absolute(record: FileRecord, statement: Import, packages: frozenset[str]) -> str:
    if record.language == "python":
        if not statement.level:
            return statement.module
        parts = _package(record.path, packages).split(".")
        parts = parts[: len(parts) - (statement.level - 1)]
        return ".".join(part for part in (*parts, statement.module) if part)
    if not statement.module.startswith("."):
        return statement.module
    return "/" + posixpath.normpath(posixpath.join(posixpath.dirname(record.path), statement.module))


def _is_of(origin: Origin, here: str, packages: frozenset[str]) -> bool:
    """Whether it would import the file itself."""
    if here.endswith((".py", ".pyi")):
        return origin.module == _dotted(here, packages)
    return origin.module == "/" + here.rpartition(".")[0]


def _only_definition(index: WorkspaceIndex, here: str, family: str, name: str) -> Origin | None:
    found = [one for one in index.find(name) if one.symbol is not None and not one.symbol.parent and one.path != here]
    if len(found) != 1 or _EXTENSIONS.get(found[0].path.rpartition(".")[2]) != family:
        return None
    if family == "python":
        return Origin(_dotted(found[0].path, _packages(index)), name)
    if not f"/{found[0].path}".startswith(_home(index, here)[0]):
        return None
    record = index.record(found[0].path)
    module = "/" + found[0].path.rpartition(".")[0].removesuffix(".d")
    if record is not None and record.default_export == name:
        return Origin(module, "default")
    return Origin(module, name) if _is_exported(index, found[0]) else None


def _is_exported(index: WorkspaceIndex, located: Located) -> bool:
    source = (index.text(located.path) or "").encode("utf-8", "surrogatepass")
    if located.symbol is None:
        return False
    line = source[source.rfind(b"\n", 0, located.symbol.start) + 1 : located.symbol.body].decode("utf-8", "replace")
    name = re.escape(located.symbol.name).encode()
    return _EXPORTED.match(line) is not None or re.search(rb"export\s*\{[^}]*\b%s\b" % name, source) is not None


def _python(origin: Origin, name: str, package: str, relative: bool) -> str:
    if origin.name == MODULE:
        return f"import {origin.module}" + ("" if origin.module.partition(".")[0] == name else f" as {name}")
    module, top = origin.module, package.partition(".")[0]
    if relative and top and (module == top or module.startswith(f"{top}.")):
        module = _dots(module, package)
    return f"from {module} import {origin.name}" + ("" if origin.name == name else f" as {name}")


def _dots(module: str, package: str) -> str:
    """``module`` as seen from inside of ``package``."""
    there, base = module.split("."), package.split(".")
    while there and base and there[0] == base[0]:
        there, base = there[1:], base[1:]
    return "." * (len(base) + 1) + ".".join(there)


def _ecmascript(origin: Origin, name: str, here: str, text: str) -> str:
    module = origin.module
    if module.startswith("/"):
        module = posixpath.relpath(module, "/" + posixpath.dirname(here))
        module = module if module.startswith(".") else f"./{module}"
    like = _LIKE.search(text)
    quote, end = (like[1], like[2]) if like is not None else ('"', ";")
    if origin.name == "default":
        what = name
    elif origin.name == MODULE:
        what = f"* as {name}"
    else:
        what = f"{{ {name} }}" if origin.name == name else f"{{ {origin.name} as {name} }}"
    return f"import {what} from {quote}{module}{quote}{end}"


def _family(language: str) -> str:
    return "ecma" if language in ECMASCRIPT else "python" if language == "python" else ""


def _packages(index: WorkspaceIndex) -> frozenset[str]:
    """Folders with an ``__init__``."""
    return frozenset(
        path.rpartition("/")[0] for path in index.paths() if path.endswith(("/__init__.py", "/__init__.pyi"))
    )


def _dotted(path: str, packages: frozenset[str]) -> str:
    parts = path.rpartition(".")[0].removesuffix("/__init__").split("/")
    root = len(parts) - 1
    while root > 0 and "/".join(parts[:root]) in packages:
        root -= 1
    return ".".join(parts[root:])


def _package(path: str, packages: frozenset[str]) -> str:
    """Of a file, dotted; empty outside of packages."""
    dotted = _dotted(path, packages)
    return dotted if path.endswith(("/__init__.py", "/__init__.pyi")) else dotted.rpartition(".")[0]
