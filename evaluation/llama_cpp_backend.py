"""llama.cpp as an engine under test: the same GGUF file, the same prompt ids, the same end of an answer as ours.

Only the forward pass is llama.cpp's. Greedy choice, stop tokens and detokenising are the product's, so a difference in
a table is a difference of weights and arithmetic.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holefill.model.answer import Answer
from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError, ModelError
from holefill.model.request import Chunk, FinishReason, GenerateRequest, Timing
from holefill.model.tokenizer import Tokenizer

_CONTEXT = 8192
_BATCH = 512
_MISSING = "llama.cpp is not installed here: pip install 'holefill[peers]' (it is compiled, which takes some minutes)"


class LlamaCppBackend:
    """A ``Backend``; serves one request at a time and keeps the rows of the prefix it shares with the last one."""

    constrains = False

    def __init__(self, path: Path, tokenizer: Tokenizer, name: str) -> None:
        """Raises ``ModelError`` where llama_cpp is missing or the model is not a GGUF file."""
        if path.suffix != ".gguf":
            raise ModelError(f"llama.cpp reads GGUF files and {path.name} is none: choose a model that is one")
        try:
            import llama_cpp
        except ImportError as error:
            raise ModelError(_MISSING) from error
        threads = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
        # Flash attention off: its CPU path is slower below 64 new tokens, so off is the fairer peer.
        self._llama: Any = llama_cpp.Llama(
            model_path=str(path),
            n_ctx=_CONTEXT,
            n_batch=_BATCH,
            n_threads=threads,
            n_threads_batch=threads,
            flash_attn=False,
            verbose=False,
        )
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self.model_name = name

    def close(self) -> None:
        self._llama.close()

    def encode_prompt(self, text: str) -> list[int]:
        """What llama.cpp's own tokenizer makes of a prompt with its special tokens spelled out."""
        return list(self._llama.tokenize(text.encode(), add_bos=False, special=True))

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        if request.sampling.temperature > 0:
            raise EngineError("llama.cpp is measured greedily here: leave the temperature at 0")
        if len(request.prompt_ids) + request.max_tokens > _CONTEXT:
            raise EngineError(f"the prompt and its answer exceed the context of {_CONTEXT}: shorten the prompt")
        began = decoding = time.perf_counter()
        answer = Answer(request, self._tokenizer)
        shared = self._rewind(request.prompt_ids)
        pending = list(request.prompt_ids[shared:])
        forwards = -1  # the first one ends the prefill and does not count, as in our engine
        while answer.finish is None and not cancel.is_set() and answer.tokens < request.max_tokens:
            self._eval(pending)
            forwards += 1
            decoding = time.perf_counter() if forwards == 0 else decoding
            token_id, logprob = _best(self._last_logits())
            pending = [token_id]
            answer.push(token_id, logprob)
            if answer.finish is None and (chunk := answer.chunk()) is not None:
                yield chunk
        timing = Timing(
            prompt_tokens=len(request.prompt_ids),
            cached_tokens=shared,
            completion_tokens=answer.tokens,
            forwards=max(0, forwards),
            prefill_ms=(decoding - began) * 1000,
            decode_ms=(time.perf_counter() - decoding) * 1000,
        )
        finish = answer.finish or (FinishReason.CANCELLED if cancel.is_set() else FinishReason.LENGTH)
        yield answer.last(finish, timing)

    def _rewind(self, prompt_ids: Sequence[int]) -> int:
        """Keep the rows that the last request and this one share; at least one id is left to evaluate."""
        shared = 0
        for mine, wanted in zip(self._ids, prompt_ids[:-1], strict=False):
            if mine != wanted:
                break
            shared += 1
        self._ids = self._ids[:shared]
        self._llama.n_tokens = shared
        return shared

    def _eval(self, ids: Sequence[int]) -> None:
        self._llama.eval(list(ids))
        self._ids += ids

    def _last_logits(self) -> NDArray[np.float32]:
        return np.ctypeslib.as_array(self._llama._ctx.get_logits_ith(-1), shape=(self._llama.n_vocab(),))


def _best(logits: NDArray[np.float32]) -> tuple[int, float]:
    """The likeliest id and its log probability."""
    best = int(logits.argmax())
    return best, -float(np.log(np.exp(logits - logits[best], dtype=np.float64).sum()))
