"""Any cut of real code: the whole gather answers, with items, whatever is broken around the cursor."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

from holefill.context.gather import Gatherer
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.providers import PROVIDERS, Sources
from holefill.context.syntax.languages import language_of
from holefill.context.types.typed_holes import TypedHoles
from tests.context.conftest import ToyTokenizer


def test_random_truncations_of_a_real_repository(shared_data: Path, tmp_path: Path, tokenizer: ToyTokenizer) -> None:
    with gzip.open(shared_data / "llm_files.jsonl.gz", "rt") as rows:
        files = list(map(json.loads, rows))
    for row in files:
        (tmp_path / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / row["path"]).write_text(row["content"])
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    known = Sources(index, TypedHoles(index, checkers=False))
    names = ("imports", "class_signatures", "callees_callers", "typed_hole")
    gather = Gatherer([PROVIDERS[name](known) for name in names], tokenizer)
    rng, answered = random.Random(5), 0
    importing = [row for row in files if index.imported(row["path"])]
    try:
        for _ in range(60):
            row = rng.choice(importing)
            at = rng.randrange(len(row["content"]) // 2, len(row["content"]))
            text = row["content"][:at] + row["content"][at + rng.choice([0, 3, 40, 400, 10**6]) :]
            cursor = Cursor(str(tmp_path / row["path"]), text, CharOffset(at), language_of(row["path"]), str(tmp_path))
            pack = gather(cursor, 400, Deadline.after_ms(5000))
            answered += bool(pack.items)
            assert pack.tokens <= 400
    finally:
        gather.close()
    assert answered >= 0.95 * 60, answered
