"""Which model drafts for which, and whether that pays on this machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from holefill.kernels.dispatch import Name
from holefill.model.adapter_file import base_hash
from holefill.model.errors import ModelError
from holefill.model.known import known_models
from holefill.model.spec.acceptance import AcceptanceHead, shipped_head
from holefill.model.spec.drafters.draft_model import CHUNK, DraftForward, DraftModelDrafter
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer

log = logging.getLogger(__name__)

AUTO, OFF = "auto", "off"
MAX_RATIO = 0.1
"""t_draft(1) / t_target(1) up to which a draft model pays (PAPERS.md 3.1, K10)."""
PADDING = 1024
"""Ids that one model of a family may have beyond another's: rows that fill a matrix up."""
CATCH_UP_GPU = 16 * CHUNK
_STEPS = 5


class PairingError(ModelError):
    """Two models of which one cannot draft for the other."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The name of the draft model, or None, and the reason in words."""

    name: str | None
    reason: str


def choose(target: Path, store: ModelStore) -> Choice:
    """For ``auto``: the smallest known model of the target's family that is on this disk; never fetches one.

    A step reads all weights, so their share in bytes foretells the ratio of times. Tied embeddings distort it, by less
    than two: a model with more than twice the share that pays is not even loaded.
    """
    known = sorted(known_models().models.values(), key=lambda model: model.size)
    found = next((model for model in known if model.file == target.name), None)
    if found is None:
        return Choice(None, "the target is no known model, so none is known to share its vocabulary: name one")
    small = next((model for model in known if model.family == found.family and model.size < found.size), None)
    if small is None:
        return Choice(None, f"{found.name} is the smallest of its family")
    if store.find(small.name) is None:
        return Choice(None, f"{small.name} is not on this disk (`holefill model pull {small.name}`)")
    share = small.size / found.size
    if share > 2 * MAX_RATIO:
        return Choice(None, f"{small.name} has {share:.2f} of the target's bytes, and would pay below {2 * MAX_RATIO}")
    return Choice(small.name, "")


def same_vocabulary(target: Tokenizer, draft: Tokenizer, name: str = "the draft model") -> None:
    """Raises PairingError unless every id stands for the same text in both."""
    shared = min(target.vocab_size, draft.vocab_size)
    differing = next((id_ for id_ in range(shared) if target.token_bytes(id_) != draft.token_bytes(id_)), None)
    if differing is None and abs(target.vocab_size - draft.vocab_size) > PADDING:
        differing = shared
    if differing is not None or target.specials != draft.specials or target.fim_ids() != draft.fim_ids():
        where = "" if differing is None else f", from token {differing} on"
        raise PairingError(
            f"{name} has another vocabulary than the model it is to draft for{where}: choose a smaller model of the "
            "same family"
        )


def step_ms(model: DraftForward, *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Milliseconds of a forward of one token behind a few; the median of five."""
    cache = model.new_cache(CHUNK + _STEPS)
    model.forward(torch.zeros(CHUNK, dtype=torch.long), cache, logit_rows=torch.tensor([CHUNK - 1]))
    taken: list[float] = []
    for _ in range(_STEPS):
        start = clock()
        logits = model.forward(torch.zeros(1, dtype=torch.long), cache, logit_rows=torch.tensor([0]))
        logits[0, 0].item()  # waits for the device
        taken.append(1000 * (clock() - start))
    return median(taken)


def pays(draft_ms: float, target_ms: float) -> bool:
    return draft_ms <= MAX_RATIO * target_ms


def draft_model_for(
    name: str | None,
    target: Path,
    tokenizer: Tokenizer,
    target_ms: float,
    *,
    device: str = "auto",
    kernels: Name = "auto",
    vocabulary: int,
) -> DraftModelDrafter | None:
    """``auto`` takes one only where it pays, and says in the log why not; a name always.

    ``target_ms``: the target's forward of one token. Raises PairingError for another vocabulary, UnknownModelError for
    a name that is not on this machine.
    """
    if name is None or name == OFF:
        return None
    store = ModelStore.default()
    if name == AUTO:
        choice = choose(target, store)
        if choice.name is None:
            log.info("no draft model: %s", choice.reason)
            return None
        asked = choice.name
    else:
        asked = name
    path = store.resolve(asked)
    other = Tokenizer.load(path)
    same_vocabulary(tokenizer, other, asked)
    model = Transformer.load(path, device=device, kernels=kernels)
    taken = step_ms(model)
    if name == AUTO and not pays(taken, target_ms):
        log.info("no draft model: a step of %s takes %.2f of the target's time", asked, taken / target_ms)
        return None
    log.info("%s drafts: a step takes %.2f of the target's time", asked, taken / target_ms)
    head = shipped_head(base_hash(target), base_hash(path))
    return drafter_of(model, taken, tokenizer.stop_ids, vocabulary, head)


def drafter_of(
    model: Transformer,
    taken: float,
    stop_ids: frozenset[int],
    vocabulary: int,
    head: AcceptanceHead | None,
    threshold: float | None = None,
) -> DraftModelDrafter:
    """``taken``: milliseconds of a step; ``vocabulary``: ids of the target."""
    return DraftModelDrafter(
        model,
        step_ms=taken,
        max_context=model.config.max_context,
        vocabulary=min(vocabulary, model.config.vocab_size),
        head=head,
        stop_ids=stop_ids,
        catch_up=CATCH_UP_GPU if model.device.type == "cuda" else 2 * CHUNK,
        threshold=threshold,
    )
