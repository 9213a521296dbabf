"""Text ↔ token ids, exactly as the model's publisher does it; imports no torch (the language server counts tokens too).

Control tokens (``<|fim_prefix|>``, ``</s>``, …) never reach the BPE: ``encode`` treats their spelling as plain text, so
a source file cannot forge one, and ``encode_prompt`` is the one door that recognises them.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from holefill.model.errors import CheckpointError
from holefill.model.gguf_header import Value, read_gguf_metadata

# Ids that end an answer in every family that has them: FIM and file markers, ends of text and of a turn.
STOP_SPELLINGS = (
    *("<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|file_sep|>", "<|repo_name|>", "<|im_end|>", "<|file_separator|>"),
    *("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<fim-prefix>", "<fim-middle>", "<fim-suffix>"),
    *("<fim-pad>", "<file_sep>", "<filename>", "<reponame>", "<repo_name>", "<gh_stars>"),
    *("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<｜end▁of▁sentence｜>", "<|EOT|>"),
    *("▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>", "[PREFIX]", "[MIDDLE]", "[SUFFIX]"),
    *("</s>", "<eos>", "<|end_of_text|>", "<|eot_id|>", "<|end|>"),
)
# (prefix, suffix, middle): any one whole row in the vocabulary makes a model one that can fill a hole.
FIM_SPELLINGS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("[PREFIX]", "[SUFFIX]", "[MIDDLE]"),
)
SUFFIX_FIRST_MARKERS = ("[PREFIX]", "[SUFFIX]")  # Codestral: suffix, then prefix, no middle token
CONTROL_SPELLING = re.compile(r"</?[^<>\s]+>|\[[A-Z_]+\]|▁<[A-Z]+>")

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """How GGUF's ``tokenizer.ggml.pre`` splits text before BPE; in Hugging Face files the JSON says it."""

    pattern: str
    nfc: bool = False
    ignore_merges: bool = False


PRE_TOKENIZERS = {
    "qwen2": PreTokenizer(rf"{_CONTRACTIONS}|\p{{N}}|{_REST}", nfc=True),
    "llama-bpe": PreTokenizer(rf"{_CONTRACTIONS}|\p{{N}}{{1,3}}|{_REST}", ignore_merges=True),
}
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # gguf.TokenType


def _byte_of_char() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes, inverted."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


class Tokenizer:
    """Satisfies ``context.provider.Tokenizer``."""

    def __init__(
        self,
        bpe: tokenizers.Tokenizer,
        specials: Mapping[str, int],
        *,
        vocab_size: int,
        eos_ids: Iterable[int] = (),
        bos_id: int | None = None,
    ) -> None:
        self._bpe = bpe
        self._specials = dict(specials)
        self._special_names = {id_: name for name, id_ in specials.items()}
        self._byte_level = isinstance(bpe.decoder, decoders.ByteLevel)
        self._byte_of_char = _byte_of_char()
        self._bytes: dict[int, bytes] = {}
        longest_first = sorted(self._specials, key=len, reverse=True)
        self._split = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self.vocab_size = vocab_size
        self.bos_id = bos_id
        """The id every prompt of this model starts with, or None."""
        self.stop_ids = frozenset(eos_ids) | {specials[name] for name in STOP_SPELLINGS if name in specials}

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """From a GGUF file, a ``tokenizer.json``, or the folder that holds one."""
        path = Path(path)
        if path.is_dir():
            path = path / "tokenizer.json"
            if not path.is_file():
                raise CheckpointError(f"{path.parent} has no tokenizer.json: export the tokenizer beside the weights")
        return _from_json(path) if path.suffix == ".json" else _from_gguf(path)

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; the spelling of a special token inside it stays text."""
        try:
            ids = self._bpe.encode(text, add_special_tokens=False).ids
        except (UnicodeEncodeError, TypeError):  # a lone surrogate, which some editors send for half an emoji
            ids = self._bpe.encode(text.encode("utf-8", "replace").decode(), add_special_tokens=False).ids
        return list(ids)

    def encode_prompt(self, text: str) -> list[int]:
        """Ids of a prompt in which special tokens are spelled out; ``transformers`` gives the same."""
        ids: list[int] = []
        start = 0
        for match in self._split.finditer(text):
            ids += self.encode(text[start : match.start()]) if match.start() > start else []
            ids.append(self._specials[match[0]])
            start = match.end()
        return ids + (self.encode(text[start:]) if start < len(text) else [])

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def stream(self) -> StreamDecoder:
        return StreamDecoder(self)

    def special_id(self, name: str) -> int | None:
        return self._specials.get(name)

    @property
    def specials(self) -> Mapping[str, int]:
        return self._specials

    def token_bytes(self, token_id: int) -> bytes:
        """What one token adds to the text; a special token adds its spelling, an unused id nothing."""
        cached = self._bytes.get(token_id)
        if cached is None:
            cached = self._bytes[token_id] = self._spell(token_id)
        return cached

    def fim_ids(self) -> tuple[int, int, int] | None:
        """(prefix, suffix, middle) ids of the prefix–suffix–middle form, or None."""
        for row in FIM_SPELLINGS:
            ids = [self._specials[name] for name in row if name in self._specials]
            if len(ids) == 3:
                return ids[0], ids[1], ids[2]
        return None

    def can_fill(self) -> bool:
        """Whether any known fill-in-the-middle form is in the vocabulary."""
        return self.fim_ids() is not None or all(name in self._specials for name in SUFFIX_FIRST_MARKERS)

    def _spell(self, token_id: int) -> bytes:
        if (name := self._special_names.get(token_id)) is not None:
            return name.encode()
        token = self._bpe.id_to_token(token_id)
        if token is None:
            return b""
        if self._byte_level:
            spelled = [self._byte_of_char.get(char) for char in token]
            # An added token that is ordinary text ("ö" in DeepSeek-Coder) is spelled as itself.
            return token.encode() if None in spelled else bytes(byte for byte in spelled if byte is not None)
        if re.fullmatch(r"<0x[0-9A-F]{2}>", token):
            return bytes([int(token[3:5], 16)])
        return token.replace("▁", " ").encode()


class StreamDecoder:
    """Tokens in, whole characters out: bytes of an unfinished character wait for the next token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        return self._utf8.decode(self._tokenizer.token_bytes(token_id))

    def finish(self) -> str:
        """What is left of an unfinished character: U+FFFD, or nothing."""
        return self._utf8.decode(b"", final=True)


def _from_gguf(path: Path) -> Tokenizer:
    meta = read_gguf_metadata(path)
    kind, pre = meta.get("tokenizer.ggml.model"), str(meta.get("tokenizer.ggml.pre"))
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        known = ", ".join(PRE_TOKENIZERS)
        raise CheckpointError(
            f"{path.name} has a {kind}/{pre} tokenizer, of which GGUF says too little to be exact (known: {known}): "
            "use the model's Hugging Face folder with its tokenizer.json"
        )
    tokens = _strings(meta, "tokenizer.ggml.tokens", path)
    merges = _strings(meta, "tokenizer.ggml.merges", path)
    types = meta.get("tokenizer.ggml.token_type")
    if not isinstance(types, tuple) or len(types) != len(tokens):
        raise CheckpointError(f"{path} lists {len(tokens)} tokens without their types: fetch it again")
    vocab = {token: id_ for id_, (token, type_) in enumerate(zip(tokens, types, strict=True)) if type_ == NORMAL}
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    bpe = _byte_level_bpe(PRE_TOKENIZERS[pre], vocab, pairs, path)
    bos = meta.get("tokenizer.ggml.bos_token_id")
    eos_ids = [meta.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    return Tokenizer(
        bpe,
        {tokens[id_]: id_ for id_, type_ in enumerate(types) if type_ in (CONTROL, USER_DEFINED)},
        vocab_size=len(tokens),
        eos_ids=[id_ for id_ in eos_ids if isinstance(id_, int)],
        bos_id=bos if isinstance(bos, int) and meta.get("tokenizer.ggml.add_bos_token", False) else None,
    )


def _byte_level_bpe(
    pre: PreTokenizer, vocab: dict[str, int], merges: list[tuple[str, str]], path: Path
) -> tokenizers.Tokenizer:
    try:
        bpe = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=pre.ignore_merges))
    except Exception as error:  # `tokenizers` raises bare Exception for a merge outside the vocabulary
        raise CheckpointError(f"{path} has a damaged vocabulary ({error}): fetch it again") from error
    if pre.nfc:
        bpe.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(pre.pattern), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    bpe.decoder = decoders.ByteLevel()
    return bpe


def _strings(meta: Mapping[str, Value], key: str, path: Path) -> list[str]:
    value = meta.get(key)
    if not isinstance(value, list):
        raise CheckpointError(f"{path} has no {key}: it holds weights without a tokenizer; use another export")
    return value


def _from_json(path: Path) -> Tokenizer:
    """Control tokens leave the file's own added tokens, so that the library cannot find them in plain text."""
    data = _read_json(path)
    config = _read_json(path.parent / "tokenizer_config.json", optional=True)
    model = _read_json(path.parent / "config.json", optional=True)
    added = data.get("added_tokens") or []
    control = [token for token in added if token.get("special") or CONTROL_SPELLING.fullmatch(token["content"])]
    data["added_tokens"] = [token for token in added if token not in control]
    data["post_processor"] = None
    try:
        bpe = tokenizers.Tokenizer.from_str(json.dumps(data))
    except Exception as error:  # `tokenizers` raises bare Exception
        raise CheckpointError(f"{path} is not a tokenizer this version can read: {error}") from error
    specials = {token["content"]: int(token["id"]) for token in control}
    size = max([bpe.get_vocab_size(with_added_tokens=True), *(id_ + 1 for id_ in specials.values())])
    bos = specials.get(_spelling(config.get("bos_token")))
    return Tokenizer(
        bpe,
        specials,
        vocab_size=max(size, int(model.get("vocab_size") or 0)),
        eos_ids=_json_eos_ids(path.parent, config, model, specials),
        bos_id=bos if config.get("add_bos_token", False) else None,
    )


def _json_eos_ids(
    folder: Path, config: dict[str, Any], model: dict[str, Any], specials: Mapping[str, int]
) -> frozenset[int]:
    generation = _read_json(folder / "generation_config.json", optional=True)
    ids: set[int] = set()
    for value in (
        model.get("eos_token_id"),
        generation.get("eos_token_id"),
        specials.get(_spelling(config.get("eos_token"))),
    ):
        ids |= set(value) if isinstance(value, list) else {value} if isinstance(value, int) else set()
    return frozenset(ids)


def _spelling(token: object) -> str:
    """``tokenizer_config.json`` names a token by its text or by an object with ``content``."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _read_json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    if optional and not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}): fetch it again") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is not a JSON object: fetch it again")
    return data
