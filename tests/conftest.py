"""Fixtures every test folder shares: the real model and the evaluation data, or a loud reason why not."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
import tokenizers

hypothesis.settings.register_profile("any-machine", deadline=None)
hypothesis.settings.load_profile("any-machine")
"""A crowded machine takes seconds for what takes microseconds: no example fails for that."""

REPOSITORY = Path(__file__).resolve().parent.parent
FIM = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>", "<|file_sep|>", "<|repo_name|>"]


def unavailable(what: str) -> None:
    """Skip outside CI; in CI everything must be there, so fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def default_model_path() -> Path:
    """The default model's GGUF file, already pulled by `make models`."""
    from holefill.model.store import ModelStore

    path = ModelStore.default().find("qwen2.5-coder-0.5b")
    if path is None:
        unavailable("the default model is not here: run `make models`")
    assert path is not None
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of evaluation data; HOLEFILL_DATA overrides ../shared/data."""
    path = Path(os.environ.get("HOLEFILL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not path.is_dir():
        unavailable(f"no evaluation data at {path}: set HOLEFILL_DATA")
    return path


@pytest.fixture(scope="session")
def byte_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as far as anything but the engine looks: a tokenizer with one token per byte."""
    folder = tmp_path_factory.mktemp("byte-model")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    bpe.add_special_tokens(FIM)
    bpe.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder
