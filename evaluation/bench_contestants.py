"""Engines that can be timed step by step: ours, and llama.cpp on the same file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from holefill.model.adapter_file import base_hash
from holefill.model.engine import Engine, EngineOptions
from holefill.model.kv.cache import KVCache
from holefill.model.loading import load_tokenizer
from holefill.model.parts import Speculator
from holefill.model.spec.acceptance import AcceptanceHead, shipped_head
from holefill.model.spec.cost import CostCurve, forward_cost
from holefill.model.spec.drafters.draft_model import DraftModelDrafter
from holefill.model.spec.measure import Arm, Draft
from holefill.model.spec.pairing import drafter_of, same_vocabulary, step_ms
from holefill.model.spec.repository import RepositoryStore
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer, WeightFormat

_OPTIONS = EngineOptions()


class Contestant(Protocol):
    def rewind(self, length: int) -> None:
        """Keep the first ``length`` tokens of the sequence."""

    def forward(self, ids: Sequence[int], *, all_logits: bool) -> None:
        """Append ``ids``; logits of all of them, or of the last. Returns when they are computed."""


class Ours:
    """The transformer alone for the step times; ``engine`` makes whole engines over it."""

    def __init__(self, path: Path, weights: WeightFormat = "packed", adapter: Path | None = None) -> None:
        self.tokenizer = load_tokenizer(path)
        self.transformer = Transformer.load(path, weights=weights, adapter=adapter)
        self.threads = torch.get_num_threads()
        self._name = path.stem
        self._cache: KVCache = self.transformer.new_cache(2048)
        self._cost: CostCurve | None = None
        self.draft: Transformer | None = None
        self.draft_ms = 0.0
        self._head: AcceptanceHead | None = None
        self._path = path

    def draft_with(self, draft: Path, head: AcceptanceHead | None = None) -> None:
        """A smaller model drafts where an arm says so. ``head``: in place of the one shipped for the pair.

        Raises PairingError for another vocabulary.
        """
        same_vocabulary(self.tokenizer, Tokenizer.load(draft), draft.name)
        self.draft = Transformer.load(draft)
        self.draft_ms = step_ms(self.draft)
        self._head = head or shipped_head(base_hash(self._path), base_hash(draft))

    def rewind(self, length: int) -> None:
        self._cache.truncate(length)

    def forward(self, ids: Sequence[int], *, all_logits: bool) -> None:
        tensor = torch.tensor(ids)
        done = 0
        while done < len(ids):  # in the engine's chunks, of which the last alone has logits
            part = tensor[done : done + _OPTIONS.rows_after(done)]
            done += len(part)
            rows = slice(0 if all_logits else len(part) - (done == len(ids)), len(part))
            self.transformer.forward(part, self._cache, logit_rows=rows)
        if self.transformer.device.type == "cuda":
            torch.cuda.synchronize()

    def engine(self, speculator: Speculator | None) -> Engine[KVCache]:
        options = EngineOptions(
            name=self._name,
            max_context=min(EngineOptions().max_context, self.transformer.config.max_context),
            vocab_size=self.transformer.config.vocab_size,
        )
        return Engine(self.transformer, self.tokenizer, options, speculator)

    def cost(self) -> CostCurve:
        if self._cost is None:
            self._cost = forward_cost(self.transformer)
        return self._cost

    def speculator(self, arm: Arm | None = None, repositories: RepositoryStore | None = None) -> TreeSpeculator:
        arm = arm or Arm()
        return TreeSpeculator(
            self.transformer.config.vocab_size,
            cost=self.cost(),
            drafters=arm.drafters,
            encode=self.tokenizer.encode,
            fim_ids=self.tokenizer.fim_ids(),
            fixed_nodes=arm.fixed_nodes,
            repositories=repositories,
            draft_model=None if arm.draft is None else self._drafter(arm.draft),
        )

    def _drafter(self, how: Draft) -> DraftModelDrafter:
        if self.draft is None:
            raise ValueError("this arm needs a draft model: give one")
        head, size = self._head if how.head else None, self.transformer.config.vocab_size
        return drafter_of(self.draft, self.draft_ms, self.tokenizer.stop_ids, size, head, how.threshold)


class LlamaCpp:
    """Flash attention off: its CPU path looks row by row below 64 new tokens, so off is the fairer peer."""

    def __init__(self, path: Path, threads: int) -> None:
        """Raises ImportError where ``llama_cpp`` is not installed."""
        import llama_cpp

        self._llama: Any = llama_cpp.Llama(
            model_path=str(path),
            n_ctx=2304,
            n_threads=threads,
            n_threads_batch=threads,
            logits_all=True,
            flash_attn=False,
            verbose=False,
        )

    def rewind(self, length: int) -> None:
        self._llama.n_tokens = length

    def forward(self, ids: Sequence[int], *, all_logits: bool) -> None:
        # `logits_all` is a property of the context at load; of a batch it can be chosen.
        self._llama._logits_all = all_logits
        self._llama.eval(list(ids))


def resident_mb() -> int | None:
    """Resident memory of this process; None where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024
