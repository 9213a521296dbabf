"""Fill-in-the-middle examples: text on disk, one JSON object a line, and the token ids the trainer reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from holefill.model.errors import ModelError, NoFimTokensError
from holefill.model.tokenizer import Tokenizer
from holefill.model.training.labels import END_TYPE, NO_TYPE, Labels, spread_types, token_spans, token_type

END_SPELLINGS = ("<|endoftext|>", "<｜end▁of▁sentence｜>", "▁<EOT>", "</s>", "<eos>", "<|end_of_text|>")
"""What ends a middle; the first one the vocabulary has."""


class TrainingError(ModelError):
    """Training data or a checkpoint that cannot be used."""


@dataclass(frozen=True, slots=True)
class TrainingText:
    """One hole. ``prefix`` and ``suffix`` are already cut to what the prompt shows, context comments included."""

    prefix: str
    middle: str
    suffix: str
    kind: str = "line"
    language: str = ""
    source: str = ""
    """Package or repository it comes from."""
    shown: str = ""
    """What the comments at the top of ``prefix`` are; data for whoever counts."""
    labels: Labels | None = None
    """For the loss terms; None in data that was built without them."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """An example's twin."""

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True, slots=True)
class TokenLabels:
    """``Labels`` of the tokens of one example."""

    types: tuple[int, ...]
    """One a token, ``NO_TYPE`` for control tokens, ``END_TYPE`` for the end of the middle."""
    statements: tuple[tuple[int, int], ...]
    """Spans of tokens."""
    renamed: Renamed | None


@dataclass(frozen=True, slots=True)
class Example:
    ids: tuple[int, ...]
    start: int
    """Index of the first token of the middle. Loss counts from here to the end token, which is the last id."""
    labels: TokenLabels | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """The control tokens of prefix–suffix–middle prompts of one model."""

    prefix: int
    suffix: int
    middle: int
    end: int
    bos: int | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Layout:
        ids = tokenizer.fim_ids()
        end = next((id_ for name in END_SPELLINGS if (id_ := tokenizer.special_id(name)) is not None), None)
        if ids is None or end is None:
            raise NoFimTokensError(
                "this model has no prefix–suffix–middle tokens; choose a code model that fills holes"
            )
        return cls(*ids, end=end, bos=tokenizer.bos_id)


def encode(text: TrainingText, tokenizer: Tokenizer, layout: Layout) -> Example:
    """The three pieces are tokenised apart, as the prompt is: the cursor is a token boundary."""
    head = [] if layout.bos is None else [layout.bos]
    prefix, suffix, middle = (tokenizer.encode(piece) for piece in (text.prefix, text.suffix, text.middle))
    prompt = [*head, layout.prefix, *prefix, layout.suffix, *suffix, layout.middle]
    example = Example((*prompt, *middle, layout.end), len(prompt))
    if text.labels is None:
        return example
    return replace(example, labels=_labels(text, text.labels, tokenizer, layout, prefix, middle, suffix))


def _labels(
    text: TrainingText,
    labels: Labels,
    tokenizer: Tokenizer,
    layout: Layout,
    prefix: list[int],
    middle: list[int],
    suffix: list[int],
) -> TokenLabels:
    letters = spread_types(labels.types)
    first, second = len(text.prefix), len(text.prefix) + len(text.middle)

    def types(piece: str, ids: list[int], at: int) -> list[int]:
        spans = token_spans([tokenizer.token_bytes(id_) for id_ in ids], piece)
        return [token_type(letters[at + start : at + end]) for start, end in spans]

    of_prefix = types(text.prefix, prefix, 0)
    of_suffix = types(text.suffix, suffix, second)
    of_middle = types(text.middle, middle, first)
    before = [NO_TYPE] * (1 if layout.bos is None else 2)
    all_types = (*before, *of_prefix, NO_TYPE, *of_suffix, NO_TYPE, *of_middle, END_TYPE)
    spans = list(token_spans([tokenizer.token_bytes(id_) for id_ in prefix], text.prefix))
    statements = tuple(
        (len(before) + inside[0], len(before) + inside[-1] + 1)
        for start, end in labels.statements
        if (inside := [n for n, (left, right) in enumerate(spans) if start <= left and right <= end])
    )
    twin: Renamed | None = None
    if labels.renamed is not None:
        example = encode(TrainingText(*labels.renamed), tokenizer, layout)
        twin = Renamed(example.ids, example.start)
    return TokenLabels(all_types, statements, twin)


def encode_all(texts: Iterable[TrainingText], tokenizer: Tokenizer, max_tokens: int) -> list[Example]:
    """Examples in the order of ``texts``; those longer than ``max_tokens`` are left out."""
    layout = Layout.of(tokenizer)
    examples = (encode(text, tokenizer, layout) for text in texts)
    return [example for example in examples if len(example.ids) <= max_tokens]


def read_texts(path: Path) -> Iterator[TrainingText]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield _read(json.loads(line))
                except (ValueError, TypeError, KeyError) as error:
                    raise TrainingError(
                        f"{path}, line {number} is no training example ({error}): build the file again"
                    ) from error
    except OSError as error:
        raise TrainingError(
            f"cannot read {path}: {error.strerror or error}; build it with `holefill train data`"
        ) from error


def _read(fields: dict[str, Any]) -> TrainingText:
    labels = fields.pop("labels", None)
    return TrainingText(**fields, labels=None if labels is None else Labels.read(labels))


def write_texts(path: Path, texts: Sequence[TrainingText]) -> None:
    with path.open("w", encoding="utf-8") as out:
        for text in texts:
            out.write(json.dumps(asdict(text), ensure_ascii=False) + "\n")
