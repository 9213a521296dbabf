"""Whole answers by llama.cpp on the prompts that drafting is measured on: plain, and with its own prompt lookup."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from holefill.model.request import GenerateRequest

LOOKUP_TOKENS = 4
"""Drafted at once. Its documentation advises 10 on a GPU and 2 on a CPU."""


class LlamaCppAnswers:
    """Greedy; a prompt's rows stay between answers, as in our engine."""

    def __init__(self, path: Path, threads: int, *, lookup: bool) -> None:
        """Raises ImportError where ``llama_cpp`` is not installed."""
        import llama_cpp
        from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

        self._llama: Any = llama_cpp.Llama(
            model_path=str(path),
            n_ctx=1024,
            n_threads=threads,
            n_threads_batch=threads,
            logits_all=lookup,
            flash_attn=False,
            draft_model=LlamaPromptLookupDecoding(num_pred_tokens=LOOKUP_TOKENS) if lookup else None,
            verbose=False,
        )

    def answer(self, ids: Sequence[int], most: int, stop_ids: Collection[int]) -> int:
        """How many tokens it wrote, a stop token included."""
        count = 0
        for token in self._llama.generate(list(ids), temp=0.0, top_k=1):
            count += 1
            if count >= most or token in stop_ids:
                break
        return count

    def close(self) -> None:
        self._llama.close()


def measure_llama_cpp(
    path: Path, threads: int, requests: Sequence[GenerateRequest], stop_ids: Collection[int]
) -> dict[str, dict[str, float]]:
    """Tokens per second of both modes, interleaved; the prompt is there before the clock starts."""
    peers = {
        "llama.cpp": LlamaCppAnswers(path, threads, lookup=False),
        "llama.cpp lookup": LlamaCppAnswers(path, threads, lookup=True),
    }
    tokens, wall, cpu = (dict.fromkeys(peers, 0.0) for _ in range(3))
    for request in requests:
        for name, peer in peers.items():
            peer.answer(request.prompt_ids, 1, stop_ids)
            began, cpu_began = time.perf_counter(), time.process_time()
            tokens[name] += peer.answer(request.prompt_ids, request.max_tokens, stop_ids)
            wall[name] += time.perf_counter() - began
            cpu[name] += time.process_time() - cpu_began
    for peer in peers.values():
        peer.close()
    return {
        name: {
            "tokens": tokens[name],
            "tok_s": round(tokens[name] / wall[name], 2),
            "tok_per_cpu_s": round(tokens[name] / cpu[name], 2),
        }
        for name in peers
    }
