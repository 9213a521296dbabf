"""Which statement brings a name in, and where it goes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.context.check import missing_imports
from holefill.context.import_edits import insertions
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.syntax.parsing import error_bytes, parse
from holefill.context.types.import_names import statement_for
from holefill.context.types.typed_holes import TypedHoles
from holefill.context.types.unbound import unbound_names


def after(language: str, text: str, *statements: str) -> str:
    for one in reversed(insertions(language, text, statements)):
        text = text[: one.offset] + one.text + text[one.offset :]
    return text


BLOCK = (
    "from __future__ import annotations\n\nimport os\n\nimport click\n\nfrom .a import b\n\n\ndef f():\n    import z\n"
)


@pytest.mark.parametrize(
    ("text", "statement", "wanted"),
    [
        ("", "import json", "import json\n"),
        ("x = 1\n", "import json", "import json\n\nx = 1\n"),
        ('"""Doc."""\n\nx = 1\n', "import json", '"""Doc."""\n\nimport json\n\nx = 1\n'),
        ("#!/bin/x\n# hi\nx = 1\n", "import json", "#!/bin/x\n# hi\nimport json\nx = 1\n"),
        (BLOCK, "import json", BLOCK.replace("os\n", "os\nimport json\n")),
        (BLOCK, "from attr import x", BLOCK.replace("click\n", "click\nfrom attr import x\n")),
        (BLOCK, "from .a import c", BLOCK.replace("import b", "import b, c")),
        (BLOCK, "from ..q import r", BLOCK.replace("import b\n", "import b\nfrom ..q import r\n")),
        (BLOCK, "import os", BLOCK),
        (BLOCK, "from .a import b", BLOCK),
        ("import os\r\nx = 1\r\n", "import json", "import os\r\nimport json\r\nx = 1\r\n"),
        ("from a import (\n    b,\n)\n", "from a import c", "from a import (\n    b,\n)\nfrom a import c\n"),
        ("import é\nx = 1\n", "import json", "import json\nimport é\nx = 1\n"),
    ],
)
def test_python(text: str, statement: str, wanted: str) -> None:
    assert after("python", text, statement) == wanted


@pytest.mark.parametrize(
    ("text", "statement", "wanted"),
    [
        ("import { a } from './x'\n", "import { c } from './x'", "import { a, c } from './x'\n"),
        ("import { a } from './x'\n", "import { a } from './x';", "import { a } from './x'\n"),
        ("import type { a } from './x'\n", "import { c } from './x'",
         "import type { a } from './x'\nimport { c } from './x'\n"),
        ("import { a } from './x'\nf()\n", "import d from 'd'", "import d from 'd'\nimport { a } from './x'\nf()\n"),
        ("'use strict'\nf()\n", "import d from 'd'", "'use strict'\n\nimport d from 'd'\nf()\n"),
    ],
)  # fmt: skip
def test_typescript(text: str, statement: str, wanted: str) -> None:
    assert after("typescript", text, statement) == wanted


def test_several_at_one_place_keep_to_their_lines() -> None:
    text = after("python", "from .a import b\n", "from ..q import r", "from .a import c", "import json")
    assert text == "import json\nfrom .a import b, c\nfrom ..q import r\n"


LINES = st.sampled_from(
    ['"""Doc."""', "# c", "", "import os", "from a import b", "from .a import (\n    q,\n)", "x = 1"]
)
NEW = st.sampled_from(["import json", "from a import c", "from .a import d", "import x.y as z"])


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=7), st.lists(NEW, min_size=1, max_size=3, unique=True), st.booleans())
def test_the_file_still_parses_and_nothing_is_added_twice(lines: list[str], new: list[str], carriage: bool) -> None:
    text = "\n".join([*lines, ""])
    text = text.replace("\n", "\r\n") if carriage else text
    added = after("python", text, *new)
    assert error_bytes(parse("python", added)) == 0
    assert after("python", added, *new) == added
    for one in insertions("python", text, new):
        added = added.replace(one.text, "", 1)
    assert added == text  # nothing else has changed


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> WorkspaceIndex:
    root = tmp_path_factory.mktemp("many")
    files = {
        "app/__init__.py": "from .models import Model\n",
        "app/models.py": "class Model: ...\ndef helper(): ...\n",
        "app/a.py": "import numpy as np\nfrom pathlib import Path\nfrom . import models\nfrom .models import Model\n",
        "app/b.py": "import numpy as np\nfrom pathlib import Path\nfrom .models import Model\n",
        "one.py": "def twice(): ...\nfrom datetime import date\n",
        "two.py": "def twice(): ...\nimport date\n",
        "web/lib/money.ts": "export class Money {}\nclass Hidden {}\nexport default function pay() {}\n",
        "web/a.ts": "import { ref, computed as derived } from 'vue'\n",
        "packages/core/package.json": '{ "name": "@x/core" }',
        "packages/core/src/track.ts": "export function track() {}\n",
        "packages/core/src/a.ts": "import { track } from './track'\n",
        "packages/core/src/b.ts": "import { track } from './track'\nimport { stop } from '@x/core'\n",
        "packages/ui/package.json": '{ "name": "@x/ui" }',
        "packages/ui/src/a.ts": "import { track } from '@x/core'\n",
        "web/pages/b.ts": "import { helperOf } from '../lib/other'\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    index = WorkspaceIndex(root)
    index.refresh()
    return index


@pytest.mark.parametrize(
    ("path", "text", "name", "wanted"),
    [
        ("app/c.py", "", "np", "import numpy as np"),
        ("app/c.py", "", "Path", "from pathlib import Path"),
        ("app/c.py", "", "Model", "from app.models import Model"),
        ("app/c.py", "from .b import q\n", "Model", "from .models import Model"),
        ("app/c.py", "", "models", "from app import models"),
        ("main.py", "from .b import q\n", "helper", "from app.models import helper"),
        ("app/c.py", "", "json", "import json"),
        ("app/c.py", "", "twice", ""),  # two files define it
        ("app/c.py", "", "date", ""),  # others disagree
        ("app/models.py", "", "Model", ""),  # it would import itself
        ("web/c.ts", "", "ref", 'import { ref } from "vue";'),
        ("web/c.ts", "import { x } from 'y'\n", "derived", "import { computed as derived } from 'vue'"),
        ("web/c.ts", "", "Money", 'import { Money } from "./lib/money";'),
        ("web/pages/c.ts", "", "Money", 'import { Money } from "../lib/money";'),
        ("web/c.ts", "", "pay", 'import pay from "./lib/money";'),
        ("web/c.ts", "", "helperOf", 'import { helperOf } from "./lib/other";'),
        ("web/c.ts", "", "Hidden", ""),
        ("packages/core/src/c.ts", "", "track", 'import { track } from "./track";'),
        ("packages/ui/src/c.ts", "", "track", 'import { track } from "@x/core";'),
        ("packages/core/src/c.ts", "", "stop", ""),
        ("web/c.js", "const x = require('y')\n", "Money", ""),
        ("c.go", "", "Money", ""),
    ],
)
def test_the_statement_of_a_name(workspace: WorkspaceIndex, path: str, text: str, name: str, wanted: str) -> None:
    language = {"py": "python", "ts": "typescript", "js": "javascript", "go": "go"}[path.rpartition(".")[2]]
    assert statement_for(workspace, str(workspace.root / path), language, text, name) == wanted


@pytest.mark.parametrize(
    ("before", "fill", "after_", "wanted"),
    [
        ("const a = ", "ref(Money.of(a.price))", "\n", ("ref", "Money")),
        ("// Money\n", "const x = (b: Price, { c, d: e }) => b + c + e + x", "\n", ("Price",)),
        ("let Money\n", "for (const q of Money) use(q)", "\n", ("use",)),
        ("import { use } from 'x'\n", "use({ field })", "\nfunction f(field) {}\n", ()),
        ("", "document.title = new Promise(Request)", "\n", ()),
        ("a.Money\n", "Money", "\n", ("Money",)),
    ],
)
def test_names_that_a_fill_brings_along(before: str, fill: str, after_: str, wanted: tuple[str, ...]) -> None:
    assert unbound_names("typescript", before, fill, after_) == wanted


def test_missing_imports_of_a_fill(workspace: WorkspaceIndex) -> None:
    holes = TypedHoles(workspace, checkers=False)
    python = Cursor(str(workspace.root / "app/c.py"), "x = \n", CharOffset(4), "python")
    script = Cursor(str(workspace.root / "web/c.ts"), "const x = \n", CharOffset(10), "typescript")
    late = Deadline.after_ms(1000)
    found = missing_imports(holes, python, "np.array([Path(), Path('a'), gone])", late)
    assert found == ("import numpy as np", "from pathlib import Path")
    assert missing_imports(holes, script, "ref(new Money(gone))", late) == (
        'import { ref } from "vue";',
        'import { Money } from "./lib/money";',
    )
