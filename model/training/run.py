"""One training run from files: base model and texts in, adapter file and figures out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from holefill.model.adapter_file import AdapterCard, base_hash, load_adapter, save_adapter, stacked
from holefill.model.checkpoint import open_checkpoint
from holefill.model.shipped import file_key
from holefill.model.tokenizer import Tokenizer
from holefill.model.training.checkpoints import saved_recipe
from holefill.model.training.examples import Example, TrainingText, encode_all
from holefill.model.training.trainer import Recipe, Saving, StepDone, held_out_loss, train
from holefill.model.weights import Weights, load_dense

TRIAL_STEPS = 3
"""Steps timed to turn minutes into a number of steps; the first one, which warms caches up, is not counted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where from, where to, and how long."""

    base: Path
    output: Path
    recipe: Recipe
    minutes: float | None = None
    """Takes the place of ``recipe.steps``: as many steps as a short trial says, fixed before the first one."""
    max_tokens: int = 640
    save_every: int = 10
    data: str = ""
    commit: str = ""
    device: str = "cpu"
    beneath: Path | None = None
    """The shipped adapter on top of which it learns."""
    start: Path | None = None
    """The adapter that it goes on from."""

    @property
    def state(self) -> Path:
        return self.output.with_suffix(".state.pt")


@dataclass(frozen=True, slots=True)
class Result:
    """Losses are means over hole tokens and over end tokens, before and after; None without held-out texts."""

    adapter: Path
    key: str
    size: int
    steps: int
    examples: int
    tokens: int
    seconds: float
    dtype: str
    first_loss: float
    last_loss: float
    before: tuple[float, float] | None
    after: tuple[float, float] | None


def fit(
    plan: Plan,
    texts: Sequence[TrainingText],
    held_out: Sequence[TrainingText] = (),
    tell: Callable[[StepDone], None] = lambda done: None,
    say: Callable[[str], None] = lambda stage: None,
) -> Result:
    """Goes on where a killed run of the same plan stopped. Raises ModelError."""
    tokenizer = Tokenizer.load(plan.base)
    examples = encode_all(texts, tokenizer, plan.max_tokens)
    measured = encode_all(held_out, tokenizer, plan.max_tokens)
    device = torch.device(plan.device)
    dtype = faster_dtype(device)
    say("loading the model")
    weights = load_dense(open_checkpoint(plan.base), dtype, device)
    base, under = base_hash(plan.base), file_key(plan.beneath)
    lower, first = (
        {} if path is None else load_adapter(path, plan.base, weights.config).factors
        for path in (plan.beneath, plan.start)
    )
    stands_on = base + under + file_key(plan.start)
    if plan.minutes is not None:
        say(f"timing {TRIAL_STEPS} steps")
    recipe = plan.recipe if plan.minutes is None else _timed(plan, weights, examples, lower)
    saving = Saving(plan.state, plan.save_every)
    trained = train(weights, examples, recipe, base=stands_on, beneath=lower, start=first, saving=saving, tell=tell)
    card = AdapterCard(base, plan.data, plan.commit, recipe.text(examples, stands_on), beneath=under)
    adapter = save_adapter(plan.output, card, trained.factors)
    if measured:
        say(f"loss on {len(measured)} other holes, without and with it")
    before = held_out_loss(weights, lower, measured) if measured else None
    after = held_out_loss(weights, stacked(lower, adapter.factors), measured) if measured else None
    plan.state.unlink(missing_ok=True)
    count = max(1, min(10, len(trained.losses)))
    return Result(
        adapter=plan.output,
        key=adapter.key,
        size=plan.output.stat().st_size,
        steps=recipe.steps,
        examples=trained.examples,
        tokens=_tokens(examples, trained.examples),
        seconds=trained.seconds,
        dtype=str(dtype).removeprefix("torch."),
        first_loss=sum(trained.losses[:count]) / count,
        last_loss=sum(trained.losses[-count:]) / count,
        before=before,
        after=after,
    )


def faster_dtype(device: torch.device) -> torch.dtype:
    """bf16 where its products are faster than fp32's (a CUDA device; AVX512-BF16 and AMX: four times), else fp32."""
    if device.type != "cpu":
        return torch.bfloat16
    seconds: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, weight = torch.ones(256, 896, dtype=dtype), torch.ones(896, 896, dtype=dtype)
        tries = []
        for _ in range(4):
            start = time.thread_time()
            torch.nn.functional.linear(x, weight)
            tries.append(time.thread_time() - start)
        seconds[dtype] = min(tries)
    return min(seconds, key=lambda dtype: seconds[dtype])


def _timed(plan: Plan, weights: Weights, examples: Sequence[Example], beneath: Mapping[str, Tensor]) -> Recipe:
    """The steps of the saved state where there is one: a resumed run keeps its schedule."""
    assert plan.minutes is not None
    saved = saved_recipe(plan.state)
    if saved is not None:
        return replace(plan.recipe, steps=int(json.loads(saved)["steps"]))
    stamps: list[float] = []
    trial = replace(plan.recipe, steps=TRIAL_STEPS)
    train(weights, examples, trial, beneath=beneath, tell=lambda done: stamps.append(time.monotonic()))
    pace = (stamps[-1] - stamps[0]) / (TRIAL_STEPS - 1)
    return replace(plan.recipe, steps=max(2, int(plan.minutes * 60 / pace)))


def _tokens(examples: Sequence[Example], seen: int) -> int:
    """Over ``seen`` draws, whole epochs exactly and the rest by the mean."""
    return round(sum(len(example.ids) for example in examples) * seen / max(1, len(examples)))
