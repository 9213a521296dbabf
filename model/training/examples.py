"""Fill-in-the-middle examples: text on disk, one JSON object a line, and the token ids the trainer reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from holefill.model.errors import ModelError, NoFimTokensError
from holefill.model.tokenizer import Tokenizer

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


@dataclass(frozen=True, slots=True)
class Example:
    ids: tuple[int, ...]
    start: int
    """Index of the first token of the middle. Loss counts from here to the end token, which is the last id."""


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
    prompt = [*head, layout.prefix, *tokenizer.encode(text.prefix)]
    prompt += [layout.suffix, *tokenizer.encode(text.suffix), layout.middle]
    return Example((*prompt, *tokenizer.encode(text.middle), layout.end), len(prompt))


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
                    yield TrainingText(**json.loads(line))
                except (ValueError, TypeError) as error:
                    raise TrainingError(
                        f"{path}, line {number} is no training example ({error}): build the file again"
                    ) from error
    except OSError as error:
        raise TrainingError(
            f"cannot read {path}: {error.strerror or error}; build it with `holefill train data`"
        ) from error


def write_texts(path: Path, texts: Sequence[TrainingText]) -> None:
    with path.open("w", encoding="utf-8") as out:
        for text in texts:
            out.write(json.dumps(asdict(text), ensure_ascii=False) + "\n")
