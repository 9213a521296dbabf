"""Do the masks, or what is done to an answer behind them, ever refuse what somebody wrote? Random holes in real files,
and the gold answers of the suites."""

from __future__ import annotations

import random
import sysconfig
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from holefill.context.syntax.languages import language_of
from holefill.evaluation.cases import Case, CaseSet, DataError
from holefill.evaluation.runner import commit_name
from holefill.evaluation.suites.loaders import LOADERS
from holefill.evaluation.terminal import print_last_line
from holefill.lsp_server.closing import Closer
from holefill.lsp_server.completion import Reason
from holefill.lsp_server.postprocess import Place, postprocess
from holefill.model.constrain.constraint import Constraint
from holefill.model.constrain.guide import Guides, default_folder
from holefill.model.constrain.languages import LANGUAGES
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer

MAX_CHARS = 120_000
HOLES_PER_FILE = 6


@dataclass(frozen=True, slots=True)
class Hole:
    language: str
    where: str
    prefix: str
    middle: str
    suffix: str


@dataclass(slots=True)
class Found:
    """Of one language."""

    holes: int = 0
    positions: int = 0
    """Tokens of the middles, and their ends."""
    off: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    """Answers that masks allow and of which nothing would be shown."""


def random_holes(language: str, where: str, text: str, rng: random.Random) -> Iterator[Hole]:
    """Rests of lines, spans of characters and whole lines."""
    for _ in range(HOLES_PER_FILE):
        start = rng.randrange(len(text))
        match rng.randrange(3):
            case 0:
                end = text.find("\n", start)
            case 1:
                end = start + rng.randint(1, 200)
            case _:
                start = end = text.rfind("\n", 0, start) + 1
                for _ in range(rng.randint(1, 6)):
                    end = text.find("\n", end) + 1 or len(text)
        end = len(text) if end < 0 else min(end, len(text))
        yield Hole(language, f"{where}:{start}", text[:start], text[start:end], text[end:])


def ask(guides: Guides, tokenizer: Tokenizer, hole: Hole, found: Found) -> None:
    ids = tokenizer.encode(hole.middle)
    if tokenizer.decode(ids) != hole.middle:
        return  # normalised by the tokenizer: not what stands in the file
    before = guides.tally.copy()
    guide = guides.guide(Constraint(hole.language, hole.prefix, hole.suffix))
    if guide is None:
        found.off.update((guides.tally - before).keys())
        return
    found.holes += 1
    found.positions += len(ids) + 1
    if guide.first_forbidden([*ids, min(tokenizer.stop_ids)]) is not None:
        found.refused.append(hole.where)


def ask_gold(guides: Guides, tokenizer: Tokenizer, cases: Iterable[Case], found: Found) -> None:
    closer = Closer()
    for case in cases:
        ask(guides, tokenizer, Hole(case.language, case.id, case.prefix, case.target, case.suffix), found)
        if postprocess(case.target, Place(case.prefix, case.suffix, case.language))[1] is not Reason.MODEL:
            continue  # not because of any mask
        place = Place(case.prefix, case.suffix, case.language, closes=True, closer=closer)
        if postprocess(case.target, place)[1] is not Reason.MODEL:
            found.hidden.append(case.id)


def _gold(data: Path, seed: int) -> Iterator[Case]:
    """Of the suites whose answers fit where they stand: HumanEval-FIM leaves out the line breaks around them."""
    for suite in ("replay", "humaneval-infilling", "cceval", "dotprompts", "typed-holes"):
        try:
            yield from LOADERS[suite](data, (), seed).cases
        except DataError as error:
            click.echo(f"without {suite}: {error.message}", err=True)


def _files(case_set: CaseSet | None, folders: Sequence[Path], seed: int) -> Iterator[tuple[str, str]]:
    """Repositories and installed packages, one file of each language in turn, in random order."""
    rng = random.Random(seed)
    found: dict[str, list[tuple[str, str] | Path]] = {}
    for workspace in (case_set.workspaces if case_set else {}).values():
        for file in workspace.files():
            found.setdefault(language_of(file[0]), []).append(file)
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        language = language_of(str(path))
        if language in LANGUAGES and path.is_file():
            found.setdefault(language, []).append(path)
    for files in found.values():
        rng.shuffle(files)
    while found:
        for language, files in tuple(found.items()):
            one = files.pop()
            yield (str(one), one.read_bytes().decode("utf-8", "ignore")) if isinstance(one, Path) else one
            if not files:
                del found[language]


def measure(
    guides: Guides, tokenizer: Tokenizer, files: Iterator[tuple[str, str]], wanted: int, seed: int
) -> dict[str, Found]:
    rng = random.Random(seed)
    table: dict[str, Found] = {}
    for path, text in files:
        language = language_of(path)
        if language in LANGUAGES and 0 < len(text) <= MAX_CHARS:
            for hole in random_holes(language, path, text, rng):
                ask(guides, tokenizer, hole, table.setdefault(language, Found()))
        if sum(found.positions for found in table.values()) >= wanted:
            break
    return table


@click.command(short_help="Masks that refuse what stands in real files.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Folder with replay sets.")
@click.option(
    "--packages",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Folder with files of any language; may be given again.  [default: site-packages]",
)
@click.option("--positions", default=50_000, show_default=True, type=click.IntRange(min=1), help="At least so many.")
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Whose tokenizer.")
@click.option("--seed", default=0, show_default=True, help="Of the sample and the intervals.")
def constraints(data: Path | None, packages: tuple[Path, ...], positions: int, model: str, seed: int) -> None:
    """Masks that refuse what stands in real files: there must be none. Exit status 1 when there is one."""
    began = time.monotonic()
    tokenizer = Tokenizer.load(ModelStore.default().resolve(model))
    guides = Guides(tokenizer, default_folder(), wait=True)
    case_set = None if data is None else LOADERS["replay"](data, (), seed)
    gold = Found()
    ask_gold(guides, tokenizer, () if data is None else _gold(data, seed), gold)
    files = _files(case_set, packages or (Path(sysconfig.get_paths()["purelib"]),), seed)
    table = {"gold": gold, **measure(guides, tokenizer, files, positions, seed)}
    for name, found in table.items():
        counts = f"{found.holes:6} holes {found.positions:8} positions, {len(found.refused)} refused"
        click.echo(f"{name:12} {counts}, {len(found.hidden)} hidden, off {dict(found.off)}")
        for where in (*found.refused[:10], *found.hidden[:10]):
            click.echo(f"    {where}")
    refused = sum(len(found.refused) + len(found.hidden) for found in table.values())
    metrics = {
        name: {
            "holes": f.holes,
            "positions": f.positions,
            "refused": len(f.refused),
            "hidden": len(f.hidden),
            "off": dict(f.off),
        }
        for name, f in table.items()
    }
    print_last_line(
        {"suite": "constraints", "metrics": metrics, "refused": refused, "model": model, "commit": commit_name(),
         "seconds": round(time.monotonic() - began, 1)}
    )  # fmt: skip
    if refused:
        raise SystemExit(1)
