"""Names of a file → the definitions they mean: its own, what its imports bring in, else the workspace's only one."""

from __future__ import annotations

from functools import cached_property

from holefill.context.index.records import Located
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.syntax.definitions import Definition, definitions
from holefill.context.syntax.parsing import Parsed, encode
from holefill.context.types.type_text import parse_type

CLASSES = frozenset({"class", "interface", "enum"})
_MAX_BASES = 24


class Scope:
    """Of one file, at one moment. ``parsed`` is its text now; without it the indexed state counts."""

    def __init__(self, index: WorkspaceIndex, path: str, parsed: Parsed | None = None) -> None:
        self.index = index
        self.path = index.relative(path) or path
        self._parsed = parsed

    @cached_property
    def own(self) -> tuple[Definition, ...]:
        if self._parsed is not None:
            return definitions(self._parsed)
        record = self.index.record(self.path)
        return () if record is None else record.symbols

    @cached_property
    def source(self) -> bytes:
        """The bytes that the definitions' offsets count in."""
        return encode(self.index.text(self.path) or "") if self._parsed is None else self._parsed.source

    @cached_property
    def imported(self) -> dict[str, Located]:
        found = self.index.imported(self.path, self._parsed)
        return {one.local: one.target for one in found}

    @cached_property
    def _top(self) -> dict[str, Definition]:
        return {symbol.name: symbol for symbol in reversed(self.own) if not symbol.parent}

    def resolve(self, name: str, anywhere: bool = True) -> Located | None:
        """``anywhere``: a name that is bound here to nothing known may mean the workspace's only one of that name."""
        head, _, rest = name.partition(".")
        own = self._top.get(head)
        found = Located(self.path, own) if own is not None else self.imported.get(name) or self.imported.get(head)
        if found is not None and rest and name not in self.imported:
            return self._inside(found, rest)
        if found is None and anywhere:
            known = [one for one in self.index.find(name.rpartition(".")[2]) if one.symbol and not one.symbol.parent]
            return known[0] if len(known) == 1 else None
        return found

    def members(self, located: Located) -> tuple[Located, ...]:
        """With the text of this file as it is now."""
        if located.path != self.path or located.symbol is None:
            return self.index.members(located)
        parent = located.symbol.qualified
        return tuple(Located(self.path, symbol) for symbol in self.own if symbol.parent == parent)

    def at(self, path: str) -> Scope:
        """The scope of another file."""
        return self if path == self.path else Scope(self.index, path)

    def lineage(self, located: Located) -> tuple[tuple[Located, ...], bool]:
        """The class and its bases, nearest first; False when one of them is not in the workspace."""
        found, complete = [located], True
        queue = [located]
        while queue and len(found) < _MAX_BASES:
            current = queue.pop(0)
            scope = self.at(current.path)
            for name in base_names(current):
                base = scope.resolve(name, anywhere=False)
                if base is None or base.symbol is None or base.symbol.kind not in CLASSES:
                    complete = complete and name in ("object", "Protocol", "Generic", "ABC", "NamedTuple")
                elif base not in found:
                    found.append(base)
                    queue.append(base)
        return tuple(found), complete

    def _inside(self, found: Located, rest: str) -> Located | None:
        if found.symbol is None:
            inner = self.at(found.path).resolve(rest, anywhere=False)
            return inner
        name = rest.partition(".")[0]
        return next((one for one in self.members(found) if one.symbol is not None and one.symbol.name == name), None)


def base_names(located: Located) -> tuple[str, ...]:
    """As written in the class's signature, without type arguments and keywords."""
    signature = "" if located.symbol is None else located.symbol.signature
    if "(" in signature:  # Python
        inside = signature.partition("(")[2].removesuffix(")")
        parts = (part.strip() for part in _split(inside))
        return tuple(part.partition("[")[0] for part in parts if part and "=" not in part and not part.startswith("*"))
    words = signature.replace(" implements ", " extends ").split(" extends ")[1:]
    return tuple(str(parse_type(part).name) for word in words for part in _split(word) if part.strip())


def _split(text: str) -> list[str]:
    """At commas outside brackets."""
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        depth += (char in "([{<") - (char in ")]}>")
        if char == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]
