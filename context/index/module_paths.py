"""Module names → workspace files: Python packages and source roots, ECMAScript paths, aliases, workspace packages."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from holefill.context.index.import_statements import Import
from holefill.context.index.records import CONFIG, FileRecord

_PYTHON_ENDS = (".py", ".pyi", "/__init__.py", "/__init__.pyi")
_ECMA_EXTENSIONS = (".ts", ".tsx", ".d.ts", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")
_ECMA_ENDS = ("", *_ECMA_EXTENSIONS, *(f"/index{extension}" for extension in _ECMA_EXTENSIONS))
_BUILT = re.compile(r"\.(?:[mc]?js|jsx)$")
_JSON_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.S)
_JSON_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')


@dataclass(frozen=True, slots=True)
class _Alias:
    """One entry of ``paths``: a specifier pattern with at most one star, and where it points."""

    scope: str
    before: str
    after: str
    targets: tuple[str, ...]
    exact: bool


class ModulePaths:
    """Where modules live, for one frozen set of files."""

    def __init__(self, records: Mapping[str, FileRecord]) -> None:
        self._records = records
        self._known: dict[tuple[str, str, int], str | None] = {}
        """Of Python's modules, by the importing folder, name and level: most are asked again with every keystroke."""

    def find(self, record: FileRecord, statement: Import) -> str | None:
        """The workspace file of the statement's module, or None (third party, standard library, namespace package)."""
        if record.language == "python":
            return self._python(record.path, statement.module, statement.level)
        return self._ecmascript(record.path, statement.module)

    def find_submodule(self, record: FileRecord, statement: Import, name: str) -> str | None:
        """The file of ``module.name``: Python's ``from package import module``."""
        if record.language != "python":
            return None
        dotted = f"{statement.module}.{name}" if statement.module else name
        return self._python(record.path, dotted, statement.level)

    def _python(self, path: str, module: str, level: int) -> str | None:
        key = (posixpath.dirname(path), module, level)
        if key not in self._known:
            self._known[key] = self._python_file(path, module, level)
        return self._known[key]

    def _python_file(self, path: str, module: str, level: int) -> str | None:
        inner = module.replace(".", "/")
        if level:
            base = posixpath.dirname(path)
            for _ in range(level - 1):
                base = posixpath.dirname(base)
            return self._first(posixpath.join(base, inner) if inner else base, _PYTHON_ENDS)
        for base in self._python_bases(path):
            found = self._first(posixpath.join(base, inner), _PYTHON_ENDS)
            if found is not None:
                return found
        return None

    def _python_bases(self, path: str) -> tuple[str, ...]:
        """Where an absolute import may start: the importing file's own root first."""
        own = _source_root(path, self._records)
        return tuple(dict.fromkeys((own, "", "src", *self._source_roots, posixpath.dirname(path))))

    @cached_property
    def _source_roots(self) -> tuple[str, ...]:
        """Folders that hold a top-level package."""
        packages = (path for path in self._records if path.endswith(("/__init__.py", "/__init__.pyi")))
        return tuple(sorted({_source_root(path, self._records) for path in packages}))

    def _first(self, base: str, ends: tuple[str, ...]) -> str | None:
        base = posixpath.normpath(base) if base else ""
        candidates = ((base + end).lstrip("/") for end in ends)
        return next((path for path in candidates if path in self._records), None)

    def _ecmascript(self, path: str, specifier: str) -> str | None:
        if specifier.startswith("."):
            return self._ecma_file(posixpath.join(posixpath.dirname(path), specifier))
        for alias in self._aliases:
            middle = _match(alias, specifier)
            if middle is None or not path.startswith(alias.scope):
                continue
            for target in alias.targets:
                found = self._ecma_file(target.replace("*", middle, 1))
                if found is not None:
                    return found
        return self._workspace_package(specifier)

    def _ecma_file(self, base: str) -> str | None:
        base = posixpath.normpath(base)
        # `import './x.js'` names the output of x.ts.
        return self._first(base, _ECMA_ENDS) or self._first(_BUILT.sub("", base), _ECMA_ENDS)

    def _workspace_package(self, specifier: str) -> str | None:
        for name, folder in self._packages:
            if specifier == name or specifier.startswith(name + "/"):
                rest = specifier[len(name) + 1 :]
                for base in ("src", ""):
                    found = self._ecma_file(posixpath.join(folder, base, rest))
                    if found is not None:
                        return found
        return None

    @cached_property
    def _packages(self) -> tuple[tuple[str, str], ...]:
        found = []
        for path, record in self._configs("package.json"):
            name = _object(record.config).get("name")
            if isinstance(name, str) and name:
                found.append((name, posixpath.dirname(path)))
        return tuple(sorted(found, key=lambda pair: -len(pair[0])))

    @cached_property
    def _aliases(self) -> tuple[_Alias, ...]:
        """``compilerOptions.paths`` of every project file; those of the deepest folder are asked first."""
        found: list[_Alias] = []
        for path, record in self._configs("tsconfig.json", "jsconfig.json"):
            options = _object(record.config).get("compilerOptions")
            if not isinstance(options, dict):
                continue
            folder = posixpath.dirname(path)
            base_url = options.get("baseUrl")
            base = posixpath.join(folder, base_url) if isinstance(base_url, str) else folder
            scope = f"{folder}/" if folder else ""
            paths = options.get("paths")
            if isinstance(paths, dict):
                found.extend(alias for key, value in paths.items() if (alias := _alias(scope, base, key, value)))
            if isinstance(base_url, str):
                found.append(_Alias(scope, "", "", (posixpath.join(base, "*"),), exact=False))
        return tuple(sorted(found, key=lambda alias: (-len(alias.scope), -alias.exact, -len(alias.before))))

    def _configs(self, *names: str) -> list[tuple[str, FileRecord]]:
        return [
            (path, record)
            for path, record in sorted(self._records.items())
            if record.language == CONFIG and posixpath.basename(path) in names
        ]


def _source_root(path: str, records: Mapping[str, FileRecord]) -> str:
    """The folder above the outermost package that holds the file."""
    folder = posixpath.dirname(path)
    while folder and (f"{folder}/__init__.py" in records or f"{folder}/__init__.pyi" in records):
        folder = posixpath.dirname(folder)
    return folder


def _alias(scope: str, base: str, key: object, value: object) -> _Alias | None:
    if not isinstance(key, str) or not isinstance(value, list):
        return None
    before, star, after = key.partition("*")
    targets = tuple(posixpath.normpath(posixpath.join(base, target)) for target in value if isinstance(target, str))
    return _Alias(scope, before, after, targets, exact=not star)


def _match(alias: _Alias, specifier: str) -> str | None:
    """What the star stands for, or None where the pattern does not match."""
    if alias.exact:
        return "" if specifier == alias.before else None
    if len(specifier) < len(alias.before) + len(alias.after):
        return None
    if not specifier.startswith(alias.before) or not specifier.endswith(alias.after):
        return None
    return specifier[len(alias.before) : len(specifier) - len(alias.after)]


def _object(text: str) -> Mapping[str, object]:
    """JSON as project files write it: comments and trailing commas allowed; anything broken is an empty object."""
    plain = _JSON_COMMENT.sub(lambda match: match[1] or "", text)
    plain = _JSON_COMMA.sub(lambda match: match[1] or "", plain)
    try:
        loaded = json.loads(plain)
    except (ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}
