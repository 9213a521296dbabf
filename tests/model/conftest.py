"""Tiny stand-ins: a byte tokenizer with Qwen's control tokens, a scripted target, and a random model of one's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers

from holefill.model.cancel import Interrupt
from holefill.model.kv.rows import RowPool, RowTable
from holefill.model.tokenizer import Tokenizer, _byte_of_char
from holefill.model.transformer import Transformer

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.configuration_utils import PretrainedConfig

SPECIALS = ("<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")


@pytest.fixture(scope="session")
def byte_tokenizer() -> Tokenizer:
    """Token id = byte; ids 256 … 259 are control tokens."""
    return Tokenizer(_byte_bpe(), {name: 256 + i for i, name in enumerate(SPECIALS)}, vocab_size=260)


def _byte_bpe() -> tokenizers.Tokenizer:
    bpe = tokenizers.Tokenizer(models.BPE(vocab=_byte_of_char(), merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    return bpe


class Scripted:
    """A target that continues a prompt with a fixed script: the next token depends on how many rows follow it.

    It notices no interrupt, like a GPU.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_length: int, script: str | Sequence[int]) -> None:
        self._start = prompt_length
        self.script = tokenizer.encode(script) if isinstance(script, str) else list(script)
        self.forwards: list[int] = []
        self.before_forward: Callable[[], object] = lambda: None
        self.seconds = 0.0
        self.row_bytes = 2**20  # so that a cache of n MB holds n rows

    def new_pool(self, rows: int) -> RowPool:
        return RowPool(rows)

    def new_cache(self, capacity: int) -> RowTable:
        return RowPool(capacity).sequence()

    def forward(
        self,
        ids: torch.Tensor,
        cache: RowTable,
        *,
        positions: torch.Tensor | None = None,
        tree_mask: torch.Tensor | None = None,
        logit_rows: torch.Tensor | None = None,
        interrupt: Interrupt | None = None,
    ) -> torch.Tensor:
        self.before_forward()
        time.sleep(self.seconds)
        self.forwards.append(len(ids))
        first = cache.length
        cache.reserve(len(ids))
        cache.length += len(ids)
        at = positions if positions is not None else torch.arange(first, first + len(ids))
        rows = range(len(ids)) if logit_rows is None else logit_rows.tolist()
        logits = torch.full((len(rows), 260), -10.0)
        for row, index in enumerate(rows):
            step = int(at[index]) + 1 - self._start
            logits[row, self.script[step] if 0 <= step < len(self.script) else 256] = 10.0
        return logits


MakeScripted = Callable[[int, str | Sequence[int]], Scripted]
"""``scripted(prompt_length, script)``."""


@pytest.fixture
def scripted(byte_tokenizer: Tokenizer) -> MakeScripted:
    return lambda prompt_length, script: Scripted(byte_tokenizer, prompt_length, script)


class Sizes(TypedDict):
    """What transformers' configurations of different families share."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    initializer_range: float


def random_network(config: PretrainedConfig) -> PreTrainedModel:
    """transformers' own model of that configuration, for inference."""
    from transformers import AutoModelForCausalLM

    make: Callable[[PretrainedConfig], PreTrainedModel] = AutoModelForCausalLM.from_config
    network = make(config)
    network.train(False)
    return network


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 of two layers over the byte vocabulary, as a Hugging Face folder."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(7)
    config = Qwen2Config(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        initializer_range=0.3,
    )
    folder = tmp_path_factory.mktemp("tiny")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    bpe = _byte_bpe()
    bpe.add_special_tokens(list(SPECIALS))
    bpe.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def tiny_transformer(tiny_folder: Path) -> Transformer:
    return Transformer.load(tiny_folder, device="cpu", weights="fp32")
