"""llama.cpp under test: the same ids go in, the same rules end the answer, shared rows are kept."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from holefill.evaluation.llama_cpp_backend import LlamaCppBackend
from holefill.evaluation.runner import EngineUnderTest, load_system
from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError, ModelError
from holefill.model.request import Chunk, FinishReason, GenerateRequest, Sampling
from holefill.model.tokenizer import Tokenizer


class FakeLlama:
    """Continues every text with the next letter; ``fed`` is what was evaluated, ``n_tokens`` what is kept."""

    def __init__(self, vocabulary: int) -> None:
        self.n_tokens = 0
        self.vocabulary = vocabulary
        self.fed: list[list[int]] = []
        self.context: list[int] = []
        self._ctx = self

    def eval(self, ids: list[int]) -> None:
        self.fed.append(ids)
        self.context = [*self.context[: self.n_tokens], *ids]
        self.n_tokens = len(self.context)

    def n_vocab(self) -> int:
        return self.vocabulary

    def get_logits_ith(self, row: int) -> Any:
        assert row == -1
        logits = np.zeros(self.vocabulary, dtype=np.float32)
        logits[(self.context[-1] + 1) % self.vocabulary] = 5.0
        return np.ctypeslib.as_ctypes(logits)

    def close(self) -> None:
        pass


@pytest.fixture
def llama(byte_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> FakeLlama:
    fake = FakeLlama(byte_tokenizer.vocab_size)
    monkeypatch.setitem(sys.modules, "llama_cpp", SimpleNamespace(Llama=lambda **_: fake))
    return fake


@pytest.fixture
def backend(llama: FakeLlama, byte_tokenizer: Tokenizer) -> LlamaCppBackend:
    return LlamaCppBackend(Path("model.gguf"), byte_tokenizer, "m")


def ask(backend: LlamaCppBackend, ids: list[int], tokens: int = 4) -> tuple[str, Chunk]:
    chunks = list(backend.generate(GenerateRequest(tuple(ids), max_tokens=tokens), CancelToken()))
    return "".join(chunk.text for chunk in chunks), chunks[-1]


def test_greedy_letters_and_counts(backend: LlamaCppBackend, llama: FakeLlama, byte_tokenizer: Tokenizer) -> None:
    prompt = byte_tokenizer.encode("xa")
    text, last = ask(backend, prompt)
    assert (text, last.finish) == ("bcde", FinishReason.LENGTH)
    assert llama.fed[0] == prompt
    assert last.timing is not None
    assert (last.timing.completion_tokens, last.timing.forwards, last.timing.cached_tokens) == (4, 3, 0)


def test_shared_rows_are_kept(backend: LlamaCppBackend, llama: FakeLlama, byte_tokenizer: Tokenizer) -> None:
    ask(backend, byte_tokenizer.encode("xyza"))
    llama.fed.clear()
    text, last = ask(backend, byte_tokenizer.encode("xyzf"))
    assert (text, llama.fed[0]) == ("ghij", byte_tokenizer.encode("f"))
    assert last.timing is not None
    assert last.timing.cached_tokens == 3
    again, same = ask(backend, byte_tokenizer.encode("xyzf"))
    assert again == "ghij"
    assert same.timing is not None
    assert same.timing.cached_tokens == 3  # the last id is evaluated again: its logits are needed


def test_stop_tokens_end_the_answer(backend: LlamaCppBackend, llama: FakeLlama, byte_tokenizer: Tokenizer) -> None:
    before_first_marker = min(byte_tokenizer.stop_ids) - 3
    _, last = ask(backend, [before_first_marker], tokens=9)
    assert last.finish is FinishReason.STOP_TOKEN
    assert last.timing is not None
    assert last.timing.completion_tokens == 3


def test_a_cancelled_answer_ends(backend: LlamaCppBackend, byte_tokenizer: Tokenizer) -> None:
    cancel = CancelToken()
    stream = backend.generate(GenerateRequest(tuple(byte_tokenizer.encode("a")), max_tokens=500), cancel)
    assert next(stream).text == "b"
    cancel.cancel()
    assert [chunk.finish for chunk in stream] == [FinishReason.CANCELLED]


def test_mistakes_say_what_to_do(
    backend: LlamaCppBackend, byte_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="GGUF"):
        LlamaCppBackend(Path("folder"), byte_tokenizer, "m")
    with pytest.raises(EngineError, match="temperature"):
        list(backend.generate(GenerateRequest((1,), sampling=Sampling(temperature=1.0)), CancelToken()))
    with pytest.raises(EngineError, match="shorten"):
        list(backend.generate(GenerateRequest((1,) * 9000), CancelToken()))
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(ModelError, match=r"holefill\[peers\]"):
        LlamaCppBackend(Path("model.gguf"), byte_tokenizer, "m")


@pytest.mark.model
def test_the_real_one_reads_the_prompt_as_we_do(default_model_path: Path) -> None:
    """llama.cpp's own tokenizer gives the ids we send it, and it fills a known hole."""
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed: pip install 'holefill[peers]'")
    system = load_system(EngineUnderTest(str(default_model_path), "llama.cpp"))
    assert isinstance(system.backend, LlamaCppBackend)
    code = '<|fim_prefix|>def add(a, b):\n    """é ∑"""\n    return <|fim_suffix|>\n<|fim_middle|>'
    ids = system.tokenizer.encode_prompt(code)
    assert system.backend.encode_prompt(code) == ids
    text, _ = ask(system.backend, ids, tokens=3)
    assert text == "a + b"
    system.close()
