"""``holefill eval mask-cost``: what masks cost, per state and per answer.

The same engine answers every prompt with and without masks, in turn, the prompt's rows being there. States are those
along the true answers; each is asked for twice, so that the second time tells what a mask costs that is known.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import numpy as np

from holefill.context.items import Pack
from holefill.evaluation.cases import Case, DataError, sample
from holefill.evaluation.runner import commit_name, device_name, request_for
from holefill.evaluation.suites.loaders import LOADERS
from holefill.evaluation.terminal import print_last_line, progress_bar
from holefill.lsp_server.completion import CompleterOptions, Fit
from holefill.lsp_server.request_builder import RequestBuilder
from holefill.model.cancel import CancelToken
from holefill.model.constrain.guide import Guide, Guides, default_folder
from holefill.model.constrain.languages import LANGUAGES
from holefill.model.engine import Engine
from holefill.model.kv.cache import KVCache
from holefill.model.loading import load_engine
from holefill.model.request import GenerateRequest
from holefill.model.shipped import served_adapter
from holefill.model.spec.tree import DraftTree


@dataclass(frozen=True, slots=True)
class Answered:
    ids: tuple[int, ...]
    seconds: float
    cpu_seconds: float


@dataclass(slots=True)
class Cost:
    first_us: list[float] = field(default_factory=list)
    """Of a state's mask when it is asked for: new in this run or known."""
    again_us: list[float] = field(default_factory=list)
    pairs: list[tuple[Answered, Answered]] = field(default_factory=list)
    """Without and with masks."""
    first_sight_ms: list[float] = field(default_factory=list)
    """For reading a file that no request was about before."""

    def states(self, guide: Guide, ids: Sequence[int]) -> None:
        for token in ids:
            tree = DraftTree.root(token)
            for taken in (self.first_us, self.again_us):
                began = time.perf_counter()
                guide.words(tree)
                taken.append(1e6 * (time.perf_counter() - began))
            guide.commit([token])

    def summary(self) -> dict[str, object]:
        """``ratio``: tokens per second with masks over without, of the answers that are equal; percent."""
        equal = [(plain, masked) for plain, masked in self.pairs if plain.ids == masked.ids]
        return {
            "n": len(self.pairs),
            "equal": len(equal),
            "tokens": sum(len(plain.ids) for plain, _ in equal),
            "ratio": _ratio([(plain.seconds, masked.seconds) for plain, masked in equal]),
            "ratio_cpu": _ratio([(plain.cpu_seconds, masked.cpu_seconds) for plain, masked in equal]),
            "ratio_median": _rounded([100 * plain.seconds / masked.seconds for plain, masked in equal], 50),
            "first_sight_ms_p50": _rounded(self.first_sight_ms, 50),
            "states": len(self.first_us),
            "mask_us_p50": _rounded(self.first_us, 50),
            "mask_us_p95": _rounded(self.first_us, 95),
            "known_us_p50": _rounded(self.again_us, 50),
        }


def measure(cost: Cost, engine: Engine[KVCache], guides: Guides, case: Case, turns: Sequence[bool]) -> None:
    """Adds the case to ``cost``. Turns: whether the answer with masks comes before the one without."""
    builder = RequestBuilder(engine, engine.tokenizer, CompleterOptions(fit=Fit.MASKS))
    request = builder.request(request_for(case, None).cursor, Pack())
    assert request.constraint is not None, "masks are on"
    began = time.perf_counter()
    guide = guides.guide(replace(request.constraint, prefix=case.prefix))
    if guide is None:
        return
    cost.first_sight_ms.append(1000 * (time.perf_counter() - began))
    cost.states(guide, engine.tokenizer.encode(case.target))
    _answered(engine, request)  # the prompt's rows and the file's lexed text are there from now on, as between two keys
    cost.pairs += [_pair(engine, request, masks_first) for masks_first in turns]


def _pair(engine: Engine[KVCache], request: GenerateRequest, masks_first: bool) -> tuple[Answered, Answered]:
    free = replace(request, constraint=None)
    if masks_first:
        masked = _answered(engine, request)
        return _answered(engine, free), masked
    return _answered(engine, free), _answered(engine, request)


def _answered(engine: Engine[KVCache], request: GenerateRequest) -> Answered:
    began, cpu_began = time.perf_counter(), time.process_time()
    ids = [id_ for chunk in engine.generate(request, CancelToken()) for id_ in chunk.token_ids]
    return Answered(tuple(ids), time.perf_counter() - began, time.process_time() - cpu_began)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Of the sums, in percent."""
    without, with_ = (sum(pair[side] for pair in pairs) for side in (0, 1))
    return round(100 * without / with_, 2) if with_ else None


def _rounded(values: Sequence[float], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 1) if values else None


@click.command(name="mask-cost", short_help="What masks cost, per state and per answer.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="Folder with replay sets.")
@click.option("--repos", default="", metavar="NAME,…", help="Only these repositories.")
@click.option("--limit", default=60, show_default=True, type=click.IntRange(min=1), help="So many cases.")
@click.option("--repeats", default=2, show_default=True, type=click.IntRange(min=1), help="Of every answer.")
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Name or GGUF file.")
@click.option("--seed", default=0, show_default=True, help="Of the cases.")
def mask_cost(data: Path, repos: str, limit: int, repeats: int, model: str, seed: int) -> None:
    """What masks cost: per state, and as tokens per second with them over without, in one run."""
    case_set = LOADERS["replay"](data, tuple(name for name in repos.split(",") if name), seed)
    cases = sample(case_set.cases, limit, seed)
    engine = load_engine(model, wait_for_masks=True, adapter=served_adapter(model, None, False))
    guides = Guides(engine.tokenizer, default_folder(), wait=True)
    cost = Cost()
    with progress_bar() as bar:
        try:
            for number, case in enumerate(bar.track(cases, description="mask-cost")):
                measure(cost, engine, guides, case, [bool((number + turn) % 2) for turn in range(repeats)])
        except KeyboardInterrupt:
            click.echo("interrupted: what follows covers the cases reached", err=True)
    if not cost.pairs:
        raise DataError("no case could be guided: look at --repos and --data")
    languages = sorted({case.language for case in cases} & set(LANGUAGES))
    shares = {name: masks.dependent_share() for name in languages if (masks := guides.masks(name)) is not None}
    dependent = {name: round(100 * share, 2) for name, share in shares.items()}
    print_last_line(
        {"suite": "mask-cost", "metrics": cost.summary(), "dependent_percent": dependent, "guided": dict(guides.tally),
         "model": model, "device": device_name(), "commit": commit_name(), "seed": seed}
    )  # fmt: skip
