"""Labels of training texts: by the syntax tree, in three languages, and without a word of the texts changed."""

from __future__ import annotations

import random

import pytest

from holefill.evaluation.corpus.labels import labels_of, leaves
from holefill.model.training.labels import Labels, spread_types

PYTHON = '''import os


def load(path, limit=3, *rest):
    """Reads."""
    total, parts = 0, []
    for part in path.split("/"):
        total += len(part)
        parts.append(read(part, limit=limit, path="path"))
    return os.path.join(*parts), total
'''
TYPESCRIPT = """export function area(shape: Shape, scale = 1): number {
  const {width, height: tall} = shape.box(scale)
  const label = `scale ${scale}`
  return width * tall * shape.scale // scale
}
"""
JAVA = """class Counter {
  int total;
  void add(String word) {
    int size = word.length();
    for (String part : word.split(",")) { record(part, size); }
    this.total = total + size;
  }
}
"""
EMOJI = "def f(größe):\n    wert = '🙂'\n    return g(größe, wert)\n"


def labelled(text: str, language: str, middle: str, first: int = 0) -> tuple[str, Labels]:
    start = text.index(middle)
    spans = (first, start), (start, start + len(middle)), (start + len(middle), len(text))
    labels = labels_of(leaves(text, language), text, spans, "# shown\n", language, random.Random(0))
    return "# shown\n" + text[first:], labels


def types_at(shown: str, labels: Labels, piece: str) -> str:
    at = shown.index(piece)
    return spread_types(labels.types)[at : at + len(piece)]


@pytest.mark.parametrize(
    ("text", "language", "piece", "types"),
    [
        (PYTHON, "python", "def load(path, limit=3", "kkk_ddddbppppu_pppppon"),
        (PYTHON, "python", 'for part in path.split("/")', "kkk_vvvv_kk_vvvvufffffbsssb"),
        (PYTHON, "python", "read(part, limit=limit", "ffffbvvvvu_aaaaaovvvvv"),
        (PYTHON, "python", "os.path.join(*parts)", "vvuaaaauffffbovvvvvb"),
        (TYPESCRIPT, "typescript", "area(shape: Shape, scale = 1)", "ddddbpppppu_tttttu_ppppp_o_nb"),
        (TYPESCRIPT, "typescript", "shape.box(scale)", "vvvvvufffbvvvvvb"),
        (JAVA, "java", "int size = word.length();", "kkk_vvvv_o_vvvvuffffffbbu"),
        (EMOJI, "python", "= '🙂'", "o_sss"),
    ],
)
def test_every_character_has_the_type_of_its_token(text: str, language: str, piece: str, types: str) -> None:
    shown, labels = labelled(text, language, piece)
    assert len(spread_types(labels.types)) == len(shown)
    assert types_at(shown, labels, piece) == types
    assert spread_types(labels.types).startswith("cccccccc")


@pytest.mark.parametrize(
    ("text", "language", "middle", "names", "stay"),
    [
        (PYTHON, "python", "read(part, limit=limit", {"path", "limit", "rest", "total", "parts", "part"},
         ("def load(", "os.path.join", "limit=", 'path="path"', "import os")),
        (TYPESCRIPT, "typescript", "shape.box(scale)", {"shape", "scale", "label"},
         ("const {width, height: ", "`scale ${", ".scale // scale", "width *")),
        (JAVA, "java", "word.length()", {"word", "size", "part"}, ("int total;", "this.total = total +", "record(")),
    ],
)  # fmt: skip
def test_what_a_function_binds_has_another_name_everywhere(
    text: str, language: str, middle: str, names: set[str], stay: tuple[str, ...]
) -> None:
    shown, labels = labelled(text, language, middle)
    assert labels.renamed is not None
    twin = "".join(labels.renamed)
    assert twin.startswith("# shown\n")
    assert all(piece in twin for piece in stay)
    tokens, of_twin = leaves(shown, language), leaves(twin, language)
    assert [leaf.letter for leaf in tokens] == [leaf.letter for leaf in of_twin]
    changed = {
        (shown[a.start : a.end], twin[b.start : b.end])
        for a, b in zip(tokens, of_twin, strict=True)
        if shown[a.start : a.end] != twin[b.start : b.end]
    }
    assert {old for old, _ in changed} == names
    assert len({new for _, new in changed}) == len(changed) == len(names), "one new name each, and no name twice"


def test_a_text_that_binds_nothing_has_no_twin() -> None:
    assert labelled("import os\nprint(os.name)\n", "python", "os.name")[1].renamed is None


def test_statements_are_of_whole_lines_before_the_hole_and_end_where_they_end() -> None:
    shown, labels = labelled(PYTHON, "python", "read(part")
    pieces = [shown[first:end] for first, end in labels.statements]
    assert pieces
    for piece in pieces:
        assert "\n" not in piece
        assert PYTHON.index(piece) < PYTHON.index("parts.append")


def test_half_a_file_is_labelled_too() -> None:
    for cut in range(0, len(PYTHON), 7):
        text = PYTHON[:cut]
        tokens = leaves(text, "python")
        assert all(0 <= leaf.start < leaf.end <= len(text) for leaf in tokens)
