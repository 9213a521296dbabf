"""Relevant headers: the callables whose return type fits best what is wanted at the hole.

Score of the typed-holes paper (`RelevantCtx`): 0.8 when the matched type is a base type, else one minus the share of
unknown parts; primary target the wanted type, secondary what it returns if it is a function, and that one's parts if it
is a tuple. Ties, which base types are full of, go to what is nearer to the cursor.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from holefill.context.index.records import FileRecord, Located
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.provider import Deadline
from holefill.context.syntax.definitions import Definition
from holefill.context.types.oracle import Hole
from holefill.context.types.scope import CLASSES, Scope, base_names
from holefill.context.types.signature_text import return_type
from holefill.context.types.type_text import ARROW, BASE, TUPLE, UNION, UNKNOWN, TypeNode, consistent, parse_type

KEPT = 8
_BASE_SCORE = 0.8
_CONSTRUCTORS = frozenset({"__init__", "constructor"})
_WORD = re.compile(r"[^\W\d]\w*")
_PART = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_NEAR_CHARS = 3000


@dataclass(frozen=True, slots=True)
class Header:
    name: str
    text: str
    returns: TypeNode
    located: Located
    score: float = 0.0


_Bases = tuple[tuple[str, tuple[str, ...]], ...]
"""Classes and what each derives from."""


@dataclass(frozen=True, slots=True)
class _FileHeaders:
    digest: str
    headers: tuple[Header, ...]
    bases: _Bases


class HeaderTable:
    """Every callable of a workspace by the names in its return type; brought up to date file by file."""

    def __init__(self, index: WorkspaceIndex) -> None:
        self._index = index
        self._files: dict[str, _FileHeaders] = {}
        self._by_head: dict[str, dict[str, list[Header]]] = {}
        self._derived: dict[str, dict[str, set[str]]] = {}
        self._below: dict[str, frozenset[str]] = {}
        """Answers of ``below``; a new one in its place when any file's classes have other bases."""
        self._epoch = -1
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def close(self) -> None:
        """Ends an ``update`` at the next file, whatever its deadline."""
        self._closed.set()

    def update(self, deadline: Deadline) -> bool:
        """True when it equals the index; False when the deadline came first, and the next call goes on."""
        with self._lock:
            epoch = self._index.epoch
            if epoch == self._epoch:
                return True
            paths = self._index.paths()
            for path in paths:
                record = self._index.record(path)
                known = self._files.get(path)
                if record is not None and (known is None or known.digest != record.digest):
                    self._learn(path, _read(self._index, record))
                    if deadline.expired() or self._closed.is_set():
                        return False
            if len(self._files) != len(paths):
                for gone in self._files.keys() - set(paths):
                    self._forget(gone)
            self._epoch = epoch
            return True

    def _learn(self, path: str, read: _FileHeaders) -> None:
        before = self._files.get(path)
        self._forget_headers(path)
        self._files[path] = read
        for header in read.headers:
            for head in _heads(header.returns):
                self._by_head.setdefault(head, {}).setdefault(path, []).append(header)
        if before is None or before.bases != read.bases:
            self._derive(path, () if before is None else before.bases, read.bases)

    def _forget(self, path: str) -> None:
        known = self._files[path]
        self._forget_headers(path)
        del self._files[path]
        self._derive(path, known.bases, ())

    def _forget_headers(self, path: str) -> None:
        known = self._files.get(path)
        for header in () if known is None else known.headers:
            for head in _heads(header.returns):
                self._by_head.get(head, {}).pop(path, None)

    def _derive(self, path: str, before: _Bases, now: _Bases) -> None:
        for _, bases in before:
            for base in bases:
                self._derived.get(base.rpartition(".")[2], {}).pop(path, None)
        for name, bases in now:
            for base in bases:
                self._derived.setdefault(base.rpartition(".")[2], {}).setdefault(path, set()).add(name)
        self._below = {}  # last: what another thread found in between goes into the old one

    def returning(self, node: TypeNode) -> Iterator[Header]:
        """In path order."""
        seen: set[str] = set()
        for head in _heads(node):
            for name in (head, *sorted(self.below(head))):
                for _, headers in sorted(self._by_head.get(name, {}).copy().items()):
                    for header in headers:
                        if header.located.id not in seen:
                            seen.add(header.located.id)
                            yield header

    def is_subtype(self, name: str, base: str) -> bool:
        return name in self.below(base) or (name, base) in (("bool", "int"), ("int", "float"))

    def below(self, name: str) -> frozenset[str]:
        """Names of the classes that derive from a class, directly or not."""
        known = self._below
        if name not in known:
            found: set[str] = set()
            queue = [name]
            while queue:
                for names in self._derived.get(queue.pop(), {}).copy().values():
                    queue.extend(names - found)
                    found |= names
            known[name] = frozenset(found)
        return known[name]


def relevant_headers(
    table: HeaderTable, scope: Scope, hole: Hole, wanted: str, deadline: Deadline, kept: int = KEPT
) -> tuple[Header, ...]:
    """The ``kept`` best, best first. Nothing for an unknown type: everything would fit."""
    primary = parse_type(wanted)
    if primary.name == UNKNOWN:
        return ()
    table.update(deadline)
    nearness = _Nearness(scope, hole)
    scored: dict[str, tuple[tuple[float, float, int], Header]] = {}
    for target in _targets(primary):
        for header in table.returning(target):
            if not consistent(header.returns, target, table.is_subtype):
                continue
            score = _score(header.returns, target)
            rank = (score + nearness.bonus(header), score, -len(header.text))
            of = header.located.id
            if of not in scored or scored[of][0] < rank:
                scored[of] = (rank, header)
    ranked = sorted(scored.values(), key=lambda pair: pair[0], reverse=True)
    return tuple(islice(_one_per_name(replace(header, score=rank[1]) for rank, header in ranked), kept))


class _Nearness:
    """How near a callable is to the hole: used nearby, of this file, imported, named alike."""

    def __init__(self, scope: Scope, hole: Hole) -> None:
        self._scope = scope
        self._hole = hole
        near = hole.text[max(0, hole.name_start - _NEAR_CHARS) : hole.name_start] + hole.text[hole.name_end :][:1000]
        self._near = Counter(_WORD.findall(near))
        self._all = Counter(_WORD.findall(hole.text))
        self._imported = {one.path for one in scope.imported.values()}
        self._names = {one.symbol.name for one in scope.imported.values() if one.symbol is not None}
        line = hole.text[hole.text.rfind("\n", 0, hole.start) + 1 : hole.start]
        self._wanted = set(_parts(f"{line} {hole.keyword}")) - {"self", "return", "the"}
        self._package = scope.path.rpartition("/")[0]

    def bonus(self, header: Header) -> float:
        symbol = header.located.symbol
        assert symbol is not None
        own = header.located.path == self._scope.path
        # The definition's own name in this file is no use of it.
        used = self._all[header.name] - own > 0
        total = 0.3 * used + 0.15 * (min(2, self._near[header.name]) / 2)
        total += 0.3 * (own or header.name in self._names)
        total += 0.1 * (header.located.path in self._imported)
        total += 0.1 * (header.located.path.rpartition("/")[0] == self._package)
        if symbol.parent and symbol.kind == "method":
            total += 0.1 if self._near[symbol.parent.rpartition(".")[2]] else -0.1
        parts = set(_parts(header.name))
        total += 0.3 * len(parts & self._wanted) / max(1, len(parts))
        # A recursive call of the function one is in is rare; a private name of elsewhere is not for here.
        if symbol.name.startswith("_") and not own:
            total -= 0.4
        inside = own and symbol.start <= self._hole.start <= symbol.end
        return total - 0.3 * inside


def _targets(primary: TypeNode) -> list[TypeNode]:
    targets = [primary]
    if primary.name == ARROW:
        secondary = primary.args[-1]
        targets.append(secondary)
        targets.extend(secondary.args if secondary.name == TUPLE else ())
    return targets


def _score(given: TypeNode, target: TypeNode) -> float:
    parts = [part for part in (given.args if given.name == UNION else (given,)) if part.name != "None"]
    if parts and all(part.name in BASE for part in parts):
        return _BASE_SCORE
    exact = 0.1 if given == target else 0.0
    return 1.0 - given.unknowns() / given.count() + exact


def _heads(node: TypeNode) -> list[str]:
    parts = node.args if node.name == UNION else (node,)
    heads = [part.name for part in parts if part.name not in (UNKNOWN,)]
    return heads if heads == ["None"] else [head for head in heads if head not in ("None", "null", "undefined", "void")]


def _one_per_name(headers: Iterator[Header]) -> Iterator[Header]:
    """Overloads and re-definitions: the best of each qualified name."""
    seen: set[str] = set()
    for header in headers:
        symbol = header.located.symbol
        name = header.name if symbol is None else symbol.qualified
        if name not in seen:
            seen.add(name)
            yield header


def _read(index: WorkspaceIndex, record: FileRecord) -> _FileHeaders:
    source: bytes | None = None
    headers = []
    for symbol in record.symbols:
        if symbol.kind in CLASSES:
            header = _constructor(record, symbol)
        elif symbol.kind in ("function", "method") and symbol.name not in _CONSTRUCTORS:
            if symbol.signature.endswith("…") and source is None:
                source = (index.text(record.path) or "").encode("utf-8", "replace")
            header = _callable(record, symbol, source)
        else:
            header = None
        if header is not None:
            headers.append(header)
    bases = tuple(
        (symbol.name, base_names(Located(record.path, symbol))) for symbol in record.symbols if symbol.kind in CLASSES
    )
    return _FileHeaders(record.digest, tuple(headers), bases)


def _callable(record: FileRecord, symbol: Definition, source: bytes | None) -> Header | None:
    signature = symbol.signature
    if signature.endswith("…") and source is not None:
        signature = " ".join(source[symbol.start : symbol.body].decode("utf-8", "replace").split()).rstrip(" {:;")
    returns = return_type(signature)
    node = parse_type(returns)
    if node.name == UNKNOWN or node == TypeNode("None") or node == TypeNode("void"):
        return None
    if node.name == "Self" and symbol.parent:
        node = TypeNode(symbol.parent.rpartition(".")[2])
    text = symbol.signature if not symbol.signature.endswith("…") else f"{symbol.signature} -> {returns}"
    owner = f"{symbol.parent}." if symbol.parent else ""
    text = re.sub(rf"\b{re.escape(symbol.name)}(?=\W)", lambda match: owner + match[0], text, count=1)
    return Header(symbol.name, text, node, Located(record.path, symbol))


def _constructor(record: FileRecord, symbol: Definition) -> Header | None:
    if symbol.kind != "class":
        return None
    own = [one for one in record.symbols if one.parent == symbol.qualified]
    init = next((one for one in own if one.name in _CONSTRUCTORS), None)
    if init is not None:
        inside = init.signature.partition("(")[2]
        parameters = re.sub(r"^self(?:,\s*)?", "", inside.rpartition(")")[0] if ")" in inside else inside)
    else:
        parameters = ", ".join(one.signature for one in own if one.kind == "field" and ":" in one.signature)
    name = symbol.name
    return Header(name, f"{symbol.qualified}({parameters}) -> {name}", TypeNode(name), Located(record.path, symbol))


@lru_cache(8192)
def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in _PART.findall(text))
