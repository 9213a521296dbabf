"""Training data: holes of the product's kinds, no copies, no secrets, no evaluation text, the same for one seed."""

from __future__ import annotations

import io
import json
import random
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from holefill.evaluation.cases import DataError
from holefill.evaluation.corpus.build import Options, build
from holefill.evaluation.corpus.commands import PACKAGES
from holefill.evaluation.corpus.duplicates import Seen, evaluation_texts, runs
from holefill.evaluation.corpus.holes import SHARES, holes_of
from holefill.evaluation.corpus.packages import Archive, Package, fetch, is_permissive, read_table
from holefill.evaluation.corpus.surroundings import Shown

BODY = "".join(
    f"def handler_{n}(request, session):\n    value_{n} = session.lookup(request.name, {n})\n"
    f"    if value_{n} is None:\n        raise KeyError(request.name)\n    return value_{n}.encode('utf-8')\n\n\n"
    for n in range(12)
)
TYPESCRIPT = "".join(
    f"export function area{n}(shape: Shape): number {{\n  const size = shape.measure({n}, shape.width)\n"
    f"  return size * shape.height\n}}\n\n"
    for n in range(12)
)


class Words:
    """A tokenizer of pieces of ``size`` characters."""

    def __init__(self, size: int = 1) -> None:
        self._size = size
        self._pieces: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        pieces = (text[at : at + self._size] for at in range(0, len(text), self._size))
        return [self._pieces.setdefault(piece, len(self._pieces)) for piece in pieces]

    def decode(self, ids: Sequence[int]) -> str:
        spelled = list(self._pieces)
        return "".join(spelled[id_] for id_ in ids)

    def special_id(self, name: str) -> int | None:
        return None


def wheel(folder: Path, name: str, files: dict[str, str], licence: str = "MIT") -> None:
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nLicense-Expression: {licence}\n\n")
        for path, text in files.items():
            archive.writestr(path, text)


def tarball(folder: Path, name: str, files: dict[str, str]) -> None:
    with tarfile.open(folder / f"{name}-1.0.tgz", "w:gz") as archive:
        manifest = json.dumps({"name": name, "license": "MIT"})
        for path, text in {"package.json": manifest, **files}.items():
            data = text.encode()
            info = tarfile.TarInfo(f"package/{path}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    wheel(
        tmp_path,
        "good",
        {
            "good/api.py": BODY,
            "good/copy.py": BODY.replace("    raise", "      raise"),
            "good/tests/test_api.py": BODY + "\n# test",
            "good/keys.py": BODY.replace("handler", "keyed") + 'TOKEN = "ghp_' + "a1" * 20 + '"\n',
            "good/made.py": "# Auto-generated, do not edit\n" + BODY.replace("handler", "made"),
            "good/known.py": BODY.replace("handler", "known").replace("value", "known").replace("session", "known"),
        },
    )
    wheel(tmp_path, "held", {"held/core.py": BODY.replace("_", "__").replace("session", "store")})
    wheel(tmp_path, "bad", {"bad/api.py": BODY}, licence="GPL-3.0-only")
    tarball(tmp_path, "shapes", {"src/shapes.ts": TYPESCRIPT, "dist/shapes.js": TYPESCRIPT, "src/shapes.d.ts": BODY})
    return tmp_path


def archives(folder: Path) -> list[Archive]:
    rows = [("pypi", "good", False), ("pypi", "held", True), ("npm", "shapes", False)]
    return [fetch(Package(registry, name, "1.0", held_out=held), folder) for registry, name, held in rows]


def test_the_same_seed_gives_the_same_data_and_another_does_not(folder: Path) -> None:
    one, again, other = (build(archives(folder), Words(), Options(seed=seed)) for seed in (0, 0, 1))
    assert one.manifest(Options()) == again.manifest(Options())
    assert one.training == again.training != other.training


def test_a_window_shortens_the_same_holes(folder: Path) -> None:
    whole, short = (build(archives(folder), Words(), Options(window=window)) for window in (None, 12))
    assert [text.middle for text in short.training] == [text.middle for text in whole.training]
    for text, longer in zip(short.training, whole.training, strict=True):
        assert longer.suffix.startswith(text.suffix)
        assert longer.prefix.endswith(text.prefix) or longer.shown != Shown.NOTHING
    assert max(len(text.suffix) for text in short.training) == 12


def test_copies_tests_secrets_generated_and_evaluation_files_are_left_out(folder: Path) -> None:
    forbidden = [BODY.replace("handler", "known").replace("value", "known").replace("session", "known")[:600]]
    built = build(archives(folder), Words(), Options(), forbidden)
    assert built.left_out == {"near duplicate": 1, "secret": 1, "generated": 1, "in the evaluation data": 1}
    text = "".join(example.prefix + example.middle for example in built.training)
    assert "ghp_" not in text
    assert "made_" not in text
    assert "known_" not in text
    assert {example.source for example in built.training} == {"pypi:good@1.0", "npm:shapes@1.0"}
    assert {example.source for example in built.held_out} == {"pypi:held@1.0"}


def test_context_is_of_other_files_decisive_for_some_holes_and_absent_from_others(tmp_path: Path) -> None:
    tools = "".join(
        f'def measure_{n}(width: int, height: int) -> int:\n    """Area number {n}, rounded down."""\n'
        f"    return width * height // {n + 1}\n\n\n"
        for n in range(40)
    )
    uses = "from pack.tools import *\n\n\n" + "".join(
        f"def use_{n}(first, second):\n    total_{n} = measure_{n}(first.width, second.height)\n"
        f"    if total_{n} > first.limit:\n        return second.limit\n    return total_{n}\n\n\n"
        for n in range(40)
    )
    users = {f"pack/user{n}.py": uses.replace("total", f"sum{n}").replace("first", f"one{n}") for n in range(8)}
    files = {"pack/tools.py": tools, **users}
    wheel(tmp_path, "pack", files)
    built = build([fetch(Package("pypi", "pack", "1.0"), tmp_path)], Words(4), Options(per_package=60))
    counts = Counter(text.shown for text in built.training)
    assert counts[Shown.DEFINITIONS]
    assert counts[Shown.NOTHING]
    for text in built.training:
        comments = [line for line in text.prefix.split("\n") if line.startswith("# ")]
        assert bool(comments) == (text.shown != Shown.NOTHING)
        if text.shown == Shown.DEFINITIONS:
            called = set(re.findall(r"measure_\d+", text.middle))
            assert any(f"def {name}(" in line for name in called for line in comments)


def test_the_manifest_names_every_source_with_licence_and_hash(folder: Path) -> None:
    manifest = json.loads(build(archives(folder), Words(), Options()).manifest(Options()))
    assert [row["package"] for row in manifest["packages"]] == ["pypi:good@1.0", "pypi:held@1.0", "npm:shapes@1.0"]
    assert all(row["licence"] == "MIT" and len(row["sha256"]) == 64 for row in manifest["packages"])
    assert manifest["training"] == sum(manifest["kinds"].values())


def test_a_licence_that_is_not_permissive_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="GPL"):
        fetch(Package("pypi", "bad", "1.0"), folder)


@pytest.mark.parametrize(
    ("licence", "permissive"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("BSD-3-Clause", True),
        ("Apache Software License", True),
        ("ISC License (ISCL)", False),  # an unknown word refuses
        ("", False),
        ("LGPL-2.1-only", False),
        ("MIT OR GPL-2.0", False),
        ("MPL-2.0", False),
        ("Proprietary", False),
    ],
)
def test_what_is_permissive(licence: str, permissive: bool) -> None:
    assert is_permissive(licence) is permissive


@pytest.mark.parametrize(("text", "language"), [(BODY, "python"), (TYPESCRIPT, "typescript")])
def test_holes_are_cut_as_their_kind_says(text: str, language: str) -> None:
    found = [hole for seed in range(30) for hole in holes_of(text, language, 10, random.Random(seed))]
    assert {hole.kind for hole in found} == set(SHARES)
    for hole in found:
        middle, before, after = text[hole.start : hole.end], text[: hole.start], text[hole.end :]
        assert middle.strip()
        if hole.kind == "lines":
            assert before.endswith("\n")
            assert after.startswith("\n")
        elif hole.kind == "newlines":
            assert middle.startswith("\n")
            assert middle.endswith("\n")
        elif hole.kind == "call":
            assert before.rstrip(" ")[-1] in "(,"
            assert after.lstrip()[0] in ")]}"
        elif hole.kind == "line":
            assert after.startswith("\n")
        else:
            assert before.rsplit("\n", 1)[-1].strip() == ""


UNITS = """\
def total(rows):
    sum_of = 0
    for row in rows:
        value = row.value
        sum_of += value

        log(value)
    check(
        sum_of,
    )

    return sum_of
"""


@pytest.mark.parametrize("kind", ["lines", "newlines"])
def test_holes_of_lines_end_where_the_text_says(kind: str) -> None:
    lines = UNITS.split("\n")
    block, call, paragraph = lines[2:7], lines[7:10], lines[2:10]
    allowed = {"\n".join(unit) for unit in (lines[1:2], lines[1:5], lines[1:10], lines[3:4], lines[3:5], lines[4:5])}
    allowed |= {"\n".join(unit) for unit in (lines[2:5], lines[6:7], block, call, paragraph, lines[8:9], lines[11:12])}
    found = {
        UNITS[hole.start : hole.end].strip("\n")
        for seed in range(200)
        for hole in holes_of(UNITS, "python", 3, random.Random(seed))
        if hole.kind == kind
    }
    assert found <= allowed
    assert {"\n".join(block), "\n".join(call), "\n".join(lines[3:5])} <= found


def test_holes_never_start_inside_documentation() -> None:
    text = f'{BODY}\ndef f():\n    """Say\n    call(this, not_code)\n    """\n    return 1\n'
    start = text.index("    call(this")
    end = text.index("    return 1\n")
    for seed in range(50):
        for hole in holes_of(text, "python", 20, random.Random(seed)):
            assert not start <= hole.start + (hole.kind == "newlines") < end


def test_licence_headers_alone_make_no_copy() -> None:
    header = "".join(f"# licence line number {n}, as in every file of the world\n" for n in range(20))
    assert not list(runs(header))
    seen = Seen([header + BODY])
    assert not seen.forbids(header + "x = 1\n" * 3)
    assert seen.forbids("a = 1\n" + BODY[:400])


def test_every_long_text_of_the_evaluation_tables_is_read(tmp_path: Path) -> None:
    rows = [{"prefix": "a", "target": "b", "suffix": "c"}, {"content": "d"}, {"prompt": "e", "canonical_solution": "f"}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert {"abc", "d", "ef"} <= set(evaluation_texts(tmp_path))


def test_the_table_has_no_repository_of_the_evaluation_data() -> None:
    rows = read_table(PACKAGES)
    assert len({row.label for row in rows}) == len(rows) > 100
    assert sum(row.held_out for row in rows) >= 5
    assert not {"click", "llm", "vue", "@vue/reactivity", "exllama"} & {row.name.lower() for row in rows}
