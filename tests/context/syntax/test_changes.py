"""What is carried from one tree to the next equals what a fresh tree says, after any edits."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path

import pytest

from holefill.context.index.import_statements import import_statements
from holefill.context.syntax.changes import Change, Piece
from holefill.context.syntax.definitions import definitions, import_nodes
from holefill.context.syntax.parsing import Parsed, parse
from holefill.context.types.identifiers import names_outside
from holefill.context.types.skeleton import _bodies

PYTHON = [Path(sysconfig.get_paths()["stdlib"]) / name for name in ("textwrap.py", "contextlib.py", "csv.py")]
TYPESCRIPT = """
import { a, b as c } from "./a";
import type D from "../d";
const lib = require("lib");

/** The first. */
export class First extends D {
  private x: number = 1;
  // says it
  say(words: string): string {
    return words + this.x;
  }
}

export const twice = (n: number): number => n * 2; // trailing
// above
export function thrice(n: number): number { return twice(n) + n; }
export interface Shape { area(): number; }
enum Colour { Red, Green }
type Pair = [First, Shape];
namespace Inner { export function hidden() { return 1; } }
""" * 4  # fmt: skip
PIECES = (
    *("\n", " ", "(", ")", ":", "    ", "{", "}", "'", '"""', "é", "# note\n", "// c\n", "x = 2\n", "self.y = 1\n"),
    *("def f(a: int) -> str:\n    return a\n", "class A:\n    b = 1\n", "import os\n", "from a import (b,\n c)\n"),
)


def read(parsed: Parsed) -> tuple[object, ...]:
    bodies = parsed.pieces("bodies", _bodies) if parsed.language in ("python", "typescript") else ()
    nodes = [(node.type, node.start_byte, node.end_byte) for node in import_nodes(parsed)]
    return (
        definitions(parsed), import_statements(parsed), nodes, names_outside(parsed, 10, 40), [*bodies],
    )  # fmt: skip


def edited(text: str, draw: random.Random) -> str:
    kind = draw.random()
    at = draw.randrange(len(text) + 1)
    if kind < 0.5:
        return text[:at] + draw.choice(PIECES) + text[at:]
    if kind < 0.8:
        return text[:at] + text[at + draw.choice((1, 2, 9, 60)) :]
    other = draw.randrange(len(text) + 1)  # two places at once, as of a cursor that jumped
    low, high = min(at, other), max(at, other)
    return text[:low] + draw.choice(PIECES) + text[low:high] + draw.choice(PIECES) + text[high:]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("asked_every", [1, 3])
@pytest.mark.parametrize("language", ["python", "typescript"])
def test_after_random_edits_it_equals_a_fresh_tree(language: str, asked_every: int, seed: int) -> None:
    draw = random.Random(seed)
    original = PYTHON[seed % 3].read_text("utf-8") if language == "python" else TYPESCRIPT
    text, parsed = original, parse(language, original)
    read(parsed)
    for step in range(18):
        text = edited(text if draw.random() < 0.8 else original, draw)
        parsed = parse(language, text, parsed)
        if step % asked_every == 0:
            fresh = parse(language, text)
            if str(parsed.root) == str(fresh.root):  # else the parser itself recovers otherwise than from nothing
                assert read(parsed) == read(fresh), (seed, step)


def test_only_the_change_is_searched() -> None:
    text = PYTHON[0].read_text("utf-8")
    first = parse("python", text)
    known = first.pieces("bodies", _bodies)
    searched: list[tuple[int, int] | None] = []

    def find(parsed: Parsed, within: tuple[int, int] | None) -> list[Piece[bool]]:
        searched.append(within)
        return _bodies(parsed, within)

    second = parse("python", text.replace("return", "_ = 1; return", 1), first)
    assert len(second.pieces("bodies", find)) == len(known)
    assert searched != [None]


@pytest.mark.parametrize("seed", range(40))
def test_two_changes_as_one(seed: int) -> None:
    """Applied to a text, bytes outside of the joint change are those of the beginning."""
    draw = random.Random(seed)
    texts = ["".join(draw.choice("abcdefgh") for _ in range(30))]
    changes = []
    for _ in range(2):
        before = texts[-1]
        start = draw.randrange(len(before))
        end = draw.randrange(start, len(before) + 1)
        new = "XYZ"[: draw.randrange(4)]
        texts.append(before[:start] + new + before[end:])
        changes.append(Change(start, end, start + len(new)))
    joint = changes[0].then(changes[1])
    assert texts[0][: joint.start] == texts[2][: joint.start]
    assert texts[0][joint.old_end :] == texts[2][joint.new_end :]
