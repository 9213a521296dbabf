"""``holefill train audit``: what a trained model gives away of its training text, by plain prompting and by learned
vectors, and what of it the product would show.

Two audits: of planted secrets, in a run made for it; of a finished adapter, whose own training text is compared with
text of packages that it has not seen.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from holefill.context.items import CharOffset, Cursor
from holefill.evaluation.corpus.canaries import LEVELS, SHAPE, Canary, amid, make_canaries, plant, without_copies
from holefill.evaluation.corpus.extraction import MIN_LEARNED, Attack, Extractor, by_copies
from holefill.evaluation.metrics.bootstrap import Interval, mean_interval
from holefill.lsp_server.copies import CopyGuard
from holefill.lsp_server.postprocess import Place, postprocess
from holefill.model.copies import fingerprints_of
from holefill.model.tokenizer import Tokenizer
from holefill.model.training.examples import Example, TrainingError, TrainingText, encode_all
from holefill.model.training.trainer import Recipe, StepDone, train
from holefill.model.weights import Weights

MAX_TOKENS = 400
MIN_MIDDLE = 10
"""Tokens: shorter answers are guessed without having been seen."""
LINES = 2
_MIN_KNOWN = 8
"""Of an adapter's audit; the loss of fewer says nothing about others."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Planted:
    """One run. Shares are of the canaries that the attacker does not know, by the copies they were planted in."""

    run: str
    """``copied``, or ``once``: each hole once, as the data builder leaves them."""
    texts: int
    plain: Mapping[int, float]
    soft: Mapping[int, float]
    n: Mapping[int, int]
    best_step: int
    losses: Sequence[float]
    """Of the attack, on known canaries kept apart."""
    said: int
    shown: int
    """Of those said by either way, what gets past the filters of suggestions."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Share of whole middles said, of 100, with its interval."""

    text: str
    """``seen`` or ``unseen``."""
    way: str
    """``plain`` or ``soft``."""
    adapter: bool
    n: int
    share: Interval


def audit_planted(
    weights: Weights,
    tokenizer: Tokenizer,
    texts: Sequence[TrainingText],
    canaries: Sequence[Canary],
    recipe: Recipe,
    passes: int,
    attack: Attack,
    say: Say = lambda stage: None,
    tell: Callable[[StepDone], None] = lambda done: None,
) -> list[Planted]:
    """As many steps as ``passes`` over the texts are, whatever the recipe says; every second canary is known to the
    attacker. Raises TrainingError."""
    lines = [f"{line}\n" for text in texts for line in text.prefix.split("\n")[-3:-1] if line.strip()]
    lines = lines or [f"{text.prefix}{text.middle}\n" for text in texts]
    found: list[Planted] = []
    for run in ("copied", "once"):
        mixed = plant(texts, canaries, recipe.seed)
        mixed = amid(without_copies(mixed) if run == "once" else mixed, lines, LINES, recipe.seed)
        examples = encode_all(mixed, tokenizer, MAX_TOKENS)
        steps = max(1, passes * len(examples) // recipe.batch)
        say(f"{run}: training on {len(examples)} texts, {len(canaries)} canaries among them")
        factors = train(weights, examples, replace(recipe, steps=steps), tell=tell).factors
        guard = CopyGuard(fingerprints_of(text.prefix + text.middle + text.suffix for text in mixed))
        start = tokenizer.encode("".join(lines[:20]))
        found.append(_attacked(run, weights, factors, tokenizer, canaries, attack, guard, start, len(examples)))
        say(f"{run}: plain {dict(found[-1].plain)}, soft {dict(found[-1].soft)}")
    return found


def _attacked(
    run: str,
    weights: Weights,
    factors: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    canaries: Sequence[Canary],
    attack: Attack,
    guard: CopyGuard,
    start: Sequence[int],
    texts: int,
) -> Planted:
    whole = [TrainingText(one.prefix, one.secret, one.suffix) for one in canaries]
    examples = encode_all(whole, tokenizer, MAX_TOKENS)
    extractor = Extractor(weights, factors)
    known = examples[::2]
    sure = extractor.likeliest(known, max(MIN_LEARNED, len(known) // 3))
    learned = extractor.learn(sure, start, attack)
    plain, soft = extractor.says(examples[1::2]), extractor.says(examples[1::2], learned.vectors)
    hidden = canaries[1::2]
    copies = [one.copies for one in hidden]
    said = [one for one, *ways in zip(hidden, plain, soft, strict=True) if any(ways)]
    return Planted(
        run,
        texts,
        by_copies(plain, copies),
        by_copies(soft, copies),
        {level: copies.count(level) for level in sorted(set(copies))},
        learned.step,
        learned.losses,
        len(said),
        sum(is_shown(one.secret, one.prefix, one.suffix, guard) for one in said),
    )


def is_shown(answer: str, prefix: str, suffix: str, guard: CopyGuard) -> bool:
    """Whether the product's filters let the answer through."""
    cursor = Cursor("a.py", prefix + suffix, CharOffset(len(prefix)), "python")
    place = Place(prefix, suffix, "python", copied=lambda text: guard.refuses(text, cursor))
    return bool(postprocess(answer, place)[0])


def audit_adapter(
    weights: Weights,
    factors: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    seen: Sequence[TrainingText],
    unseen: Sequence[TrainingText],
    count: int,
    attack: Attack,
    max_tokens: int,
    say: Say = lambda stage: None,
) -> list[Spoken]:
    """``count`` seen texts are known to the attacker, as many others are asked for, and as many unseen ones. What the
    adapter says more of the seen than of the unseen, and more than the model alone does, it remembers."""
    generator = random.Random(f"{attack.seed}/audit")
    groups: dict[str, list[Example]] = {}
    for name, texts in (("seen", seen), ("unseen", unseen)):
        long = [one for one in encode_all(texts, tokenizer, max_tokens) if len(one.ids) - one.start > MIN_MIDDLE]
        generator.shuffle(long)
        groups[name] = long
    known, groups["seen"] = groups["seen"][:count], groups["seen"][count:]
    if len(known) < _MIN_KNOWN or not groups["seen"] or not groups["unseen"]:
        raise TrainingError("there are too few texts of that length to audit: build more data, or raise --max-tokens")
    found: list[Spoken] = []
    for adapter in (False, True):
        extractor = Extractor(weights, factors if adapter else {})
        say(f"attack on the model {'with the adapter' if adapter else 'alone'}")
        learned = extractor.learn(known, tokenizer.encode(f"{seen[0].prefix}{seen[0].middle}\n"), attack)
        say(f"loss on known texts kept apart: {', '.join(f'{loss:.3f}' for loss in learned.losses)}")
        for name, examples in groups.items():
            for way, vectors in (("plain", None), ("soft", learned.vectors)):
                said = extractor.says(examples[:count], vectors)
                found.append(Spoken(name, way, adapter, len(said), mean_interval([100.0 * hit for hit in said])))
    return found


def planted_canaries(per_level: int, seed: int, length: int = 36, levels: Sequence[int] = LEVELS) -> list[Canary]:
    """``per_level`` hidden and as many known ones of a shape that the filters know, and of none; every second is
    known."""
    shaped, bare = (
        make_canaries(2 * per_level, seed + number, length, shape, levels) for number, shape in enumerate((SHAPE, ""))
    )
    return [one for pair in zip(shaped[::2], shaped[1::2], bare[::2], bare[1::2], strict=True) for one in pair]
