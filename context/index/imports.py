"""Import statements → the workspace definitions they bring in (Python, TypeScript, JavaScript).

Follows re-exports and star imports through any number of files; cycles end because a (file, name) pair is asked once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from holefill.context.index.import_statements import MODULE, STAR, Import
from holefill.context.index.module_paths import ModulePaths
from holefill.context.index.records import FileRecord, Located

_MAX_STAR_NAMES = 200


@dataclass(frozen=True, slots=True)
class Resolved:
    """``local`` is the name in the importing file, dotted for ``import a.b``."""

    local: str
    target: Located


class ImportResolver:
    """Resolves against one frozen state of the workspace."""

    def __init__(self, records: Mapping[str, FileRecord], modules: ModulePaths) -> None:
        self._records = records
        self._modules = modules
        self._known: dict[str, tuple[Resolved, ...]] = {}

    def resolve(self, record: FileRecord) -> tuple[Resolved, ...]:
        """Everything the file's imports bind that is defined in the workspace, in source order."""
        if self._records.get(record.path) is not record:  # its text as it is now, not as it is indexed
            return tuple(found for statement in record.imports for found in self._bound(record, statement))
        if record.path not in self._known:
            bound = (found for statement in record.imports for found in self._bound(record, statement))
            self._known[record.path] = tuple(bound)
        return self._known[record.path]

    def modules_of(self, record: FileRecord) -> tuple[str, ...]:
        """Workspace files the imports name directly: the edges of the import graph."""
        paths = (self._modules.find(record, statement) for statement in record.imports)
        return tuple(dict.fromkeys(path for path in paths if path is not None and path != record.path))

    def _bound(self, record: FileRecord, statement: Import) -> Iterator[Resolved]:
        if statement.reexport:
            return
        module = self._modules.find(record, statement)
        for imported in statement.names:
            if imported.name == STAR:
                if module is not None:
                    yield from self._star(module)
                continue
            found = self._one(record, statement, module, imported.name, set())
            if found is not None:
                yield Resolved(imported.local, found)

    def _one(
        self, record: FileRecord, statement: Import, module: str | None, name: str, asked: set[tuple[str, str]]
    ) -> Located | None:
        if name == MODULE:
            return None if module is None else Located(module)
        found = None if module is None else self._lookup(module, name, asked)
        if found is None:
            submodule = self._modules.find_submodule(record, statement, name)
            found = None if submodule is None else Located(submodule)
        return found

    def _lookup(self, path: str, name: str, asked: set[tuple[str, str]]) -> Located | None:
        """The definition behind a module's top-level ``name``."""
        if (path, name) in asked or path not in self._records:
            return None
        asked.add((path, name))
        record = self._records[path]
        wanted = record.default_export if name == "default" and record.default_export else name
        own = next((symbol for symbol in record.symbols if symbol.name == wanted and not symbol.parent), None)
        if own is not None:
            return Located(path, own)
        for statement in record.imports:
            local = next((known for known in statement.names if known.local == wanted), None)
            if local is not None:
                module = self._modules.find(record, statement)
                found = self._one(record, statement, module, local.name, asked)
                if found is not None:
                    return found
        return self._through_stars(record, name, asked)

    def _through_stars(self, record: FileRecord, name: str, asked: set[tuple[str, str]]) -> Located | None:
        for statement in record.imports:
            if any(known.name == STAR for known in statement.names):
                module = self._modules.find(record, statement)
                found = None if module is None else self._lookup(module, name, asked)
                if found is not None:
                    return found
        return None

    def _star(self, module: str) -> Iterator[Resolved]:
        seen: set[str] = set()
        queue, visited = [module], {module}
        while queue and len(seen) < _MAX_STAR_NAMES:
            record = self._records.get(queue.pop(0))
            if record is None:
                continue
            for symbol in record.symbols:
                if not symbol.parent and not symbol.name.startswith("_") and symbol.name not in seen:
                    seen.add(symbol.name)
                    yield Resolved(symbol.name, Located(record.path, symbol))
            for statement in record.imports:
                source = self._modules.find(record, statement)
                for name in statement.names:
                    if name.name == STAR and source is not None and source not in visited:
                        visited.add(source)
                        queue.append(source)
                    elif name.name != STAR and not name.local.startswith("_") and name.local not in seen:
                        found = self._one(record, statement, source, name.name, set())
                        if found is not None:
                            seen.add(name.local)
                            yield Resolved(name.local, found)
