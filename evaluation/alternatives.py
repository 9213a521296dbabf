"""``holefill eval alternatives``: five answers to one prompt, by branching where the model hesitates (PAPERS.md §2.15)
and by the five likeliest first tokens, the usual way.

Both with the same model on the same prompts. An answer counts once, as it would be shown, where the file around it
lexes and closes with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch

from holefill.context.items import Pack
from holefill.evaluation.cases import Case, DataError, sample
from holefill.evaluation.cuts import HoleCut
from holefill.evaluation.metrics.bootstrap import mean_interval
from holefill.evaluation.metrics.exact_match import exact_match
from holefill.evaluation.runner import commit_name, device_name, request_for
from holefill.evaluation.suites.loaders import LOADERS
from holefill.evaluation.terminal import print_last_line, progress_bar
from holefill.lsp_server.completion import CompleterOptions, Fit, Reason
from holefill.lsp_server.postprocess import Place, postprocess
from holefill.lsp_server.request_builder import RequestBuilder
from holefill.model.cancel import CancelToken
from holefill.model.constrain.constraint import Constraint
from holefill.model.constrain.guide import Guides, default_folder
from holefill.model.engine import Engine
from holefill.model.kv.cache import KVCache
from holefill.model.loading import load_engine
from holefill.model.request import GenerateRequest
from holefill.model.shipped import served_adapter
from holefill.model.stops import StopRule

WANTED = 5
FIRST_TOKENS, BRANCHES, MASKED = "first tokens", "branches", "branches under masks"
_ROWS = 128


@dataclass(frozen=True, slots=True)
class Answers:
    """Of one way to one case."""

    distinct: int
    """Different ones that close."""
    first_exact: bool
    any_exact: bool


class Asked:
    """One engine, asked in each of the ways."""

    def __init__(self, engine: Engine[KVCache]) -> None:
        self._engine = engine
        self._guides = Guides(engine.tokenizer, default_folder(), wait=True)
        self._cut = HoleCut()

    def of(self, case: Case) -> dict[str, Answers]:
        request, masked = (self._request(case, fit) for fit in (Fit.OFF, Fit.MASKS))
        texts = {
            FIRST_TOKENS: list(self._by_first_tokens(request)),
            BRANCHES: self._by_branches(request),
            MASKED: self._by_branches(masked),
        }
        return {name: self._counted(case, said) for name, said in texts.items()}

    def _request(self, case: Case, fit: Fit) -> GenerateRequest:
        builder = RequestBuilder(self._engine, self._engine.tokenizer, CompleterOptions(fit=fit, heal=False))
        return builder.request(request_for(case, None).cursor, Pack(), alternatives=WANTED - 1)

    def _by_branches(self, request: GenerateRequest) -> list[str]:
        *_, last = self._engine.generate(request, CancelToken())
        return [candidate.text for candidate in last.candidates]

    def _by_first_tokens(self, request: GenerateRequest) -> Iterator[str]:
        tokenizer = self._engine.tokenizer
        for token in self._first(request.prompt_ids):
            if token in tokenizer.stop_ids:
                yield ""
                continue
            longer = replace(
                request,
                prompt_ids=(*request.prompt_ids, token),
                max_tokens=request.max_tokens - 1,
                alternatives=0,
            )
            rest = "".join(chunk.text for chunk in self._engine.generate(longer, CancelToken()))
            yield _stopped(request, tokenizer.decode([token]) + rest)

    def _first(self, prompt_ids: Sequence[int]) -> list[int]:
        transformer = self._engine.transformer
        cache = transformer.new_cache(len(prompt_ids))
        logits = torch.zeros(1)
        for start in range(0, len(prompt_ids), _ROWS):
            part = torch.tensor(prompt_ids[start : start + _ROWS])
            logits = transformer.forward(part, cache, logit_rows=torch.tensor([len(part) - 1]))
        return [int(token) for token in logits[-1].topk(WANTED).indices]

    def _counted(self, case: Case, texts: Sequence[str]) -> Answers:
        place = Place(case.prefix, case.suffix, case.language)
        exact = [exact_match(self._cut.cut(case, text), case.target) for text in texts]
        shown = {
            said.strip() for text in texts for said, reason in [postprocess(text, place)] if reason is Reason.MODEL
        }
        closing = [text for text in shown if self._closes(case, text)]
        return Answers(len(closing), bool(exact) and exact[0], any(exact))

    def _closes(self, case: Case, text: str) -> bool:
        """What cannot be told counts as closing."""
        tokenizer = self._engine.tokenizer
        guide = self._guides.guide(Constraint(case.language, case.prefix, case.suffix))
        return guide is None or guide.first_forbidden([*tokenizer.encode(text), min(tokenizer.stop_ids)]) is None


def _stopped(request: GenerateRequest, text: str) -> str:
    """As the engine would have cut it, had it said the whole."""
    rule = StopRule(request.stop)
    state = rule.feed(text)
    return (state if state.done is not None else rule.finish()).text


def summary(found: Sequence[dict[str, Answers]]) -> dict[str, object]:
    """Means with 95 % intervals; of the branches also the paired difference from the first tokens."""
    base = _measures([case[FIRST_TOKENS] for case in found])
    table: dict[str, object] = {}
    for name in (FIRST_TOKENS, BRANCHES, MASKED):
        ours = _measures([case[name] for case in found])
        table[name] = {metric: _interval(values) for metric, values in ours.items()} | {
            f"{metric}_difference": _interval([a - b for a, b in zip(values, base[metric], strict=True)])
            for metric, values in ours.items()
            if name != FIRST_TOKENS
        }
    return table


def _measures(answers: Sequence[Answers]) -> dict[str, list[float]]:
    return {
        f"distinct_valid_at_{WANTED}": [float(one.distinct) for one in answers],
        f"oracle_em_at_{WANTED}": [100.0 * one.any_exact for one in answers],
        "em": [100.0 * one.first_exact for one in answers],
    }


def _interval(values: Sequence[float]) -> list[float]:
    found = mean_interval(values)
    return [round(value, 2) for value in (found.mean, found.low, found.high)]


@click.command(short_help="Five answers by branching, and by first tokens.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="Folder with replay sets.")
@click.option("--repos", default="", metavar="NAME,…", help="Only these repositories.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1), help="So many cases.")
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Name or GGUF file.")
@click.option("--seed", default=0, show_default=True, help="Of the cases and the intervals.")
def alternatives(data: Path, repos: str, limit: int, model: str, seed: int) -> None:
    """Five answers by branching where the model hesitates, beside the five likeliest first tokens: how many of them
    are different and close, and how often the true one is among them."""
    case_set = LOADERS["replay"](data, tuple(name for name in repos.split(",") if name), seed)
    cases = sample(case_set.cases, limit, seed)
    asked = Asked(load_engine(model, wait_for_masks=True, adapter=served_adapter(model, None, False)))
    found: list[dict[str, Answers]] = []
    with progress_bar() as bar:
        try:
            found.extend(map(asked.of, bar.track(cases, description="alternatives")))
        except KeyboardInterrupt:
            click.echo("interrupted: what follows covers the cases reached", err=True)
    if not found:
        raise DataError("no case was answered: look at --repos and --data")
    print_last_line(
        {"suite": "alternatives", "n": len(found), "metrics": summary(found), "model": model, "device": device_name(),
         "commit": commit_name(), "seed": seed}
    )  # fmt: skip
