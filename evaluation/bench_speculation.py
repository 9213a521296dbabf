"""What drafting brings: the same prompts with and without it, interleaved, on the same weights and threads."""

from __future__ import annotations

from holefill.evaluation.bench_contestants import Ours
from holefill.evaluation.bench_text import Place, places
from holefill.evaluation.cases import Case
from holefill.evaluation.latency import Key, latency_json, replay_keys
from holefill.evaluation.runner import System, cpu_name
from holefill.model.cancel import CancelToken
from holefill.model.request import GenerateRequest, Timing

_TOKENS = 48
_PREFIX_TOKENS, _SUFFIX_TOKENS = 400, 64
_HOLE_LINES = 3
_KEYS = 12


def measure_speculation(ours: Ours, prompts: int) -> dict[str, object]:
    """``speedup``: decoded tokens per second over our own engine without drafts; ``mat``: tokens per forward."""
    speculator = ours.speculator()
    drafting, plain = ours.engine(speculator), ours.engine(None)
    sums = {"drafting": [0.0, 0.0], "plain": [0.0, 0.0]}
    for place in places(prompts):
        request = _request(ours, place)
        others = [other.text for other in places(prompts) if other.path != place.path]
        speculator.index_repository([ours.tokenizer.encode(text) for text in others])
        for name, engine in (("drafting", drafting), ("plain", plain)):
            engine.warm(request.prompt_ids)  # as when the document was opened; drafters learn from it
            *_, last = engine.generate(request, CancelToken())
            timing = last.timing or Timing()
            sums[name][0] += timing.completion_tokens
            sums[name][1] += timing.decode_ms
    tokens = sums["drafting"][0]
    rates = {name: 1000 * count / ms for name, (count, ms) in sums.items()}
    accepted = speculator.tally.accepted_by_source
    keys = latency_json(_keys(ours, prompts))
    return {
        "speedup": round(rates["drafting"] / rates["plain"], 3),
        "mat": round(speculator.tally.tokens / max(speculator.tally.rounds, 1), 3),
        "by_drafter": {name: round(count / tokens, 3) for name, count in sorted(accepted.items())},
        "prefilled_per_key": keys["prefilled_per_key"],
        "in_window": keys["in_window"],
        "key_p50_ms": keys["p50_ms"],
        "key_p95_ms": keys["p95_ms"],
        "tok_s": round(rates["drafting"], 2),
        "tok_s_plain": round(rates["plain"], 2),
        "prompts": prompts,
        "tokens": int(tokens),
    }


def _request(ours: Ours, place: Place) -> GenerateRequest:
    """The hole of a suggestion, where lines were removed: 400 tokens before it, 64 after."""
    encode, fim = ours.tokenizer.encode, ours.tokenizer.fim_ids()
    before = encode(place.text[: place.offset])[-_PREFIX_TOKENS:]
    if fim is None:
        return GenerateRequest(tuple(before), max_tokens=_TOKENS)
    removed = place.text[place.offset :].split("\n", _HOLE_LINES)
    after = encode("\n" + removed[-1])[:_SUFFIX_TOKENS]
    return GenerateRequest((fim[0], *before, fim[1], *after, fim[2]), max_tokens=_TOKENS)


def _keys(ours: Ours, prompts: int) -> list[Key]:
    """Someone types the next characters of each file."""
    engine = ours.engine(ours.speculator())
    system = System(engine, ours.tokenizer, cpu_name())
    cases = [
        Case(place.path, "python", place.path, place.text[: place.offset], place.text[place.offset :], "\n")
        for place in places(prompts)
    ]
    return list(replay_keys(system, cases, _KEYS))
