"""Fill-in-the-middle formats, one row per model family, chosen by the tokenizer's own special tokens."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from holefill.context.errors import NoFimFormatError
from holefill.context.provider import Tokenizer


class Order(Enum):
    PSM = "prefix, suffix, middle"
    SPM = "suffix, prefix, middle"


@dataclass(frozen=True, slots=True)
class RepoForm:
    """How a family was trained to see other files: ``header`` NAME, then per file ``file`` PATH newline CONTENT."""

    file: str
    header: str | None = None
    file_is_text: bool = False
    """The separator is plain text, not a special token (Codestral)."""
    path_inside_prefix: bool = False
    """The path of the current file follows the prefix token instead of preceding it (StarCoder2)."""


@dataclass(frozen=True, slots=True)
class FimFormat:
    """One family. Every spelling is a special token of its tokenizer."""

    name: str
    prefix: str
    suffix: str
    middle: str | None
    stops: tuple[str, ...]
    """Tokens that end the middle; those the vocabulary lacks are ignored."""
    order: Order = Order.PSM
    bos: str | None = None
    marks: tuple[str, ...] = ()
    """Further tokens that tell this family from others with the same FIM tokens."""
    repo: RepoForm | None = None

    @property
    def required(self) -> tuple[str, ...]:
        own = (self.prefix, self.suffix) if self.middle is None else (self.prefix, self.suffix, self.middle)
        return own + self.marks

    def stop_ids(self, tokenizer: Tokenizer) -> frozenset[int]:
        ids = (tokenizer.special_id(stop) for stop in self.stops)
        return frozenset(token for token in ids if token is not None)


_END = "<|endoftext|>"
_ANGLE = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
_ANGLE_STOPS = (_END, *_ANGLE, "<fim_pad>", "<file_sep>", "<repo_name>", "<filename>", "<reponame>")
_PIPE = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")

# The first row whose required tokens are all in the vocabulary wins, so rows with more marks come first.
FORMATS: tuple[FimFormat, ...] = (
    FimFormat(
        "qwen2.5-coder",
        *_PIPE,
        stops=(_END, *_PIPE, "<|fim_pad|>", "<|file_sep|>", "<|repo_name|>", "<|im_start|>", "<|im_end|>"),
        marks=("<|repo_name|>", "<|file_sep|>"),
        repo=RepoForm(file="<|file_sep|>", header="<|repo_name|>"),
    ),
    FimFormat(
        "codegemma",
        *_PIPE,
        stops=("<eos>", *_PIPE, "<|file_separator|>", "<end_of_turn>"),
        bos="<bos>",
        marks=("<|file_separator|>",),
    ),
    FimFormat(
        "starcoder2",
        *_ANGLE,
        stops=_ANGLE_STOPS,
        marks=("<repo_name>", "<file_sep>"),
        repo=RepoForm(file="<file_sep>", header="<repo_name>", path_inside_prefix=True),
    ),
    # Mellum and Granite-Code both keep StarCoder's first vocabulary; Mellum adds dialogue tokens to it.
    FimFormat(
        "mellum",
        *_ANGLE,
        stops=_ANGLE_STOPS,
        order=Order.SPM,
        marks=("<filename>", "<think>"),
        repo=RepoForm(file="<filename>"),
    ),
    FimFormat(
        "granite-code",
        *_ANGLE,
        stops=_ANGLE_STOPS,
        marks=("<filename>", "<reponame>"),
        repo=RepoForm(file="<filename>", header="<reponame>"),
    ),
    FimFormat(
        "deepseek-coder",
        prefix="<｜fim▁begin｜>",
        suffix="<｜fim▁hole｜>",
        middle="<｜fim▁end｜>",
        stops=("<｜end▁of▁sentence｜>", "<|EOT|>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
        bos="<｜begin▁of▁sentence｜>",
    ),
    FimFormat(
        "codellama",
        prefix="▁<PRE>",
        suffix="▁<SUF>",
        middle="▁<MID>",
        stops=("▁<EOT>", "</s>", "▁<PRE>", "▁<SUF>", "▁<MID>"),
        bos="<s>",
    ),
    FimFormat(
        "codestral",
        prefix="[PREFIX]",
        suffix="[SUFFIX]",
        middle=None,
        stops=("</s>", "[PREFIX]", "[SUFFIX]", "[MIDDLE]"),
        order=Order.SPM,
        bos="<s>",
        repo=RepoForm(file="+++++ ", file_is_text=True),
    ),
    FimFormat(
        "santacoder",
        prefix="<fim-prefix>",
        suffix="<fim-suffix>",
        middle="<fim-middle>",
        stops=(_END, "<fim-prefix>", "<fim-suffix>", "<fim-middle>", "<fim-pad>"),
    ),
)


def choose_format(tokenizer: Tokenizer) -> FimFormat:
    """The format whose tokens the vocabulary has; never looks at a file name. Raises NoFimFormatError."""
    for row in FORMATS:
        if all(tokenizer.special_id(token) is not None for token in row.required):
            return row
    families = ", ".join(row.name for row in FORMATS)
    raise NoFimFormatError(
        "This model has no fill-in-the-middle tokens, so it cannot complete code at a cursor (is it a chat model?). "
        f"Choose a code model of one of these families: {families}."
    )
