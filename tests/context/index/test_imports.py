"""The import matrix: relative, alias, re-export, star, cycle, namespace, source roots; TypeScript aliases, packages."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from holefill.context.index.imports import ImportResolver
from holefill.context.index.module_paths import ModulePaths
from holefill.context.index.records import analyse

PYTHON = {
    "app/__init__.py": "from .shapes import Circle as Round\nfrom .helpers import *\n",
    "app/shapes.py": "class Circle: pass\nclass Square: pass\n_hidden = 1\n",
    "app/helpers.py": "from .deep.tool import tool\ndef help_me(): pass\nfrom .cycle_a import thing\n",
    "app/deep/__init__.py": "",
    "app/deep/tool.py": "from ..shapes import Square\ndef tool(): pass\n",
    "app/cycle_a.py": "from .cycle_b import thing\n",
    "app/cycle_b.py": "from .cycle_a import thing\n",
    "space/inner/module.py": "def in_namespace(): pass\n",
    "src/lib/__init__.py": "",
    "src/lib/core.py": "def core(): pass\n",
    "src/lib/user.py": "",
    "scripts/sibling.py": "def beside(): pass\n",
    "stub.pyi": "def stubbed() -> int: ...\n",
}
# importing file, its text, {local name: "path" or "path#qualified name"}
PYTHON_CASES = [
    ("main.py", "from app.shapes import Circle", {"Circle": "app/shapes.py#Circle"}),
    (
        "main.py",
        "from app.shapes import (Circle as C, Square)",
        {"C": "app/shapes.py#Circle", "Square": "app/shapes.py#Square"},
    ),
    ("main.py", "from app import Round", {"Round": "app/shapes.py#Circle"}),
    (
        "main.py",
        "from app import help_me, tool",
        {"help_me": "app/helpers.py#help_me", "tool": "app/deep/tool.py#tool"},
    ),
    ("main.py", "from app import shapes", {"shapes": "app/shapes.py"}),
    ("main.py", "import app.shapes", {"app.shapes": "app/shapes.py"}),
    ("main.py", "import app.shapes as s, os", {"s": "app/shapes.py"}),
    ("main.py", "from app.shapes import *", {"Circle": "app/shapes.py#Circle", "Square": "app/shapes.py#Square"}),
    ("main.py", "from app.cycle_a import thing", {}),
    ("main.py", "from space.inner.module import in_namespace", {"in_namespace": "space/inner/module.py#in_namespace"}),
    ("main.py", "from space.inner import module", {"module": "space/inner/module.py"}),
    ("main.py", "from stub import stubbed", {"stubbed": "stub.pyi#stubbed"}),
    ("main.py", "import os, sys\nfrom numpy import array", {}),
    ("app/deep/tool2.py", "from .tool import tool", {"tool": "app/deep/tool.py#tool"}),
    ("app/deep/tool2.py", "from ..shapes import Circle", {"Circle": "app/shapes.py#Circle"}),
    ("app/deep/tool2.py", "from .. import shapes as sh", {"sh": "app/shapes.py"}),
    ("app/deep/tool2.py", "from . import tool", {"tool": "app/deep/tool.py"}),
    ("app/deep/tool2.py", "from ....toofar import x", {}),
    ("src/lib/user.py", "from lib.core import core", {"core": "src/lib/core.py#core"}),
    ("tests/test_x.py", "from lib.core import core", {"core": "src/lib/core.py#core"}),
    ("scripts/run.py", "from sibling import beside", {"beside": "scripts/sibling.py#beside"}),
    (
        "main.py",
        "try:\n    from app.shapes import Circle\nexcept ImportError:\n    pass",
        {"Circle": "app/shapes.py#Circle"},
    ),
]
ECMA = {
    "tsconfig.json": '{ // project\n "compilerOptions": { "baseUrl": ".", "paths": { '
    '"@/*": ["./src/*"], "exact": ["src/a"], }, } }',
    "src/a.ts": "export class A {}\nexport function f() {}\nexport default class Main {}\n",
    "src/b/index.ts": "export { A as Again } from '../a'\nexport * from './more'\nexport * as space from '../a'\n",
    "src/b/more.ts": "export const more = 1\nexport * from './index'\n",
    "src/view.tsx": "export const View = () => <a/>\n",
    "lib/old.js": "function old() {}\nmodule.exports = { old }\n",
    "packages/shared/package.json": '{"name": "@org/shared"}',
    "packages/shared/src/index.ts": "export * from './util'\n",
    "packages/shared/src/util.ts": "export function util() {}\n",
}
ECMA_CASES = [
    ("src/main.ts", "import { A, f as g } from './a'", {"A": "src/a.ts#A", "g": "src/a.ts#f"}),
    ("src/main.ts", "import { A } from './a.js'", {"A": "src/a.ts#A"}),
    ("src/main.ts", "import M from './a'", {"M": "src/a.ts#Main"}),
    ("src/main.ts", "import M, { f } from './a'", {"M": "src/a.ts#Main", "f": "src/a.ts#f"}),
    ("src/main.ts", "import * as all from './a'", {"all": "src/a.ts"}),
    ("src/main.ts", "import { Again, more } from './b'", {"Again": "src/a.ts#A", "more": "src/b/more.ts#more"}),
    ("src/main.ts", "import { space } from './b'", {"space": "src/a.ts"}),
    ("src/main.ts", "import { missing } from './b'", {}),
    ("src/main.ts", "import type { A } from '@/a'", {"A": "src/a.ts#A"}),
    ("src/main.ts", "import { f } from 'exact'", {"f": "src/a.ts#f"}),
    ("src/main.ts", "import { f } from 'src/a'", {"f": "src/a.ts#f"}),
    ("src/main.ts", "import { View } from './view'", {"View": "src/view.tsx#View"}),
    ("src/main.ts", "import { util } from '@org/shared'", {"util": "packages/shared/src/util.ts#util"}),
    ("src/main.ts", "import react from 'react'", {}),
    ("lib/main.js", "const { old, x: y } = require('./old')", {"old": "lib/old.js#old"}),
    ("lib/main.js", "const whole = require('./old')", {"whole": "lib/old.js"}),
]


def resolved(files: Mapping[str, str], path: str, text: str) -> dict[str, str]:
    records = {name: analyse(name, content) for name, content in files.items()}
    records[path] = analyse(path, text)
    return {
        found.local: found.target.id for found in ImportResolver(records, ModulePaths(records)).resolve(records[path])
    }


@pytest.mark.parametrize(
    ("path", "text", "expected"), PYTHON_CASES, ids=[f"{row[0]}: {row[1]}" for row in PYTHON_CASES]
)
def test_python(path: str, text: str, expected: dict[str, str]) -> None:
    assert resolved(PYTHON, path, text) == expected


@pytest.mark.parametrize(("path", "text", "expected"), ECMA_CASES, ids=[f"{row[0]}: {row[1]}" for row in ECMA_CASES])
def test_ecmascript(path: str, text: str, expected: dict[str, str]) -> None:
    assert resolved(ECMA, path, text) == expected


@pytest.mark.parametrize("config", ["", "{", "[]", '{"compilerOptions": {"paths": {"a": 1, "b*": [2]}, "baseUrl": 3}}'])
def test_broken_project_files_are_ignored(config: str) -> None:
    files = {**ECMA, "tsconfig.json": config}
    assert resolved(files, "src/main.ts", "import { A } from './a'\nimport { x } from 'b1'") == {"A": "src/a.ts#A"}


def test_import_graph_has_files_once() -> None:
    records = {name: analyse(name, content) for name, content in PYTHON.items()}
    records["main.py"] = analyse("main.py", "import app.shapes\nfrom app.shapes import Circle\nimport app\n")
    graph = ImportResolver(records, ModulePaths(records)).modules_of(records["main.py"])
    assert graph == ("app/shapes.py", "app/__init__.py")
