"""A model's name or path → an engine ready to answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from holefill.kernels.dispatch import Name
from holefill.model.constrain.guide import Guides, default_folder
from holefill.model.engine import Engine, EngineOptions
from holefill.model.errors import NoFimTokensError
from holefill.model.kv.cache import KVCache
from holefill.model.parts import Speculator
from holefill.model.spec.cost import forward_cost
from holefill.model.spec.pairing import AUTO, draft_model_for
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer
from holefill.model.weights import Progress

CUDA_CHUNK = 256
"""A forward of few rows would be mostly launches there, and none is ended early. Chosen without a GPU at hand, so not
measured."""


def load_engine(
    model: str | Path,
    *,
    device: str = "auto",
    weights: Literal["packed", "fp32", "bf16"] = "packed",
    progress: Progress | None = None,
    options: EngineOptions | None = None,
    speculation: bool = True,
    speculator: Speculator | None = None,
    wait_for_masks: bool = False,
    adapter: Path | None = None,
    kernels: Name = "auto",
    draft_model: str | None = AUTO,
) -> Engine[KVCache]:
    """Drafts with ``spec.drafters.DEFAULT`` unless ``speculation`` is off or a ``speculator`` is given.

    ``adapter``: file of a low-rank adapter of this model. It is part of the engine from here on: an engine's cached
    rows and learned drafts are of one adapter, or of none.

    ``wait_for_masks``: the first constrained request of a language waits for its tables, else it runs without.

    ``kernels``: a set of ``kernels.dispatch`` for every op that has it, never silently another.

    ``draft_model``: a smaller model of the same vocabulary, by name or path; ``auto``: one that is on this disk
    and pays on this device, and the log says why none; None: none.

    Raises ``UnknownModelError``, ``CheckpointError``, ``AdapterError``, ``NoFimTokensError``, ``PairingError`` for
    a draft model of another vocabulary, or ``EngineError`` where the kernels asked for cannot run.
    """
    path = ModelStore.default().resolve(str(model))
    tokenizer = load_tokenizer(path)
    transformer = Transformer.load(
        path, device=device, weights=weights, adapter=adapter, kernels=kernels, progress=progress
    )
    options = options or EngineOptions()
    options = replace(
        options,
        name=options.name or Path(model).name,
        max_context=min(options.max_context, transformer.config.max_context),
        vocab_size=transformer.config.vocab_size,
    )
    if transformer.device.type == "cuda":
        rows = max(options.prefill_chunk, CUDA_CHUNK)
        options = replace(options, prefill_chunk=rows, first_chunk=rows)
    if speculation and speculator is None:
        cost = forward_cost(transformer)
        small = draft_model_for(
            draft_model,
            path,
            tokenizer,
            cost(1),
            device=device,
            kernels=kernels,
            vocabulary=transformer.config.vocab_size,
        )
        speculator = TreeSpeculator(
            transformer.config.vocab_size,
            cost=cost,
            draft_model=small,
            encode=tokenizer.encode,
            fim_ids=tokenizer.fim_ids(),
        )
    guides = Guides(tokenizer, default_folder(), wait=wait_for_masks)
    return Engine(transformer, tokenizer, options, speculator, guides.guide)


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a model that can fill a hole; imports no torch of its own."""
    tokenizer = Tokenizer.load(path)
    if not tokenizer.can_fill():
        raise NoFimTokensError(
            f"{path.name} has no fill-in-the-middle tokens, so it cannot complete code inside a file: "
            "choose a code model such as qwen2.5-coder-0.5b (`holefill model list`)"
        )
    return tokenizer
