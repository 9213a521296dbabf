"""Time to a whole suggestion through the completer: cold, then one key later with everything warm."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from holefill.context.items import CharOffset, Cursor
from holefill.evaluation.bench_contestants import Ours
from holefill.evaluation.bench_text import Place, places
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.completion import CompletionRequest, Trigger
from holefill.model.cancel import CancelToken

_PLACES = 3


@dataclass(frozen=True, slots=True)
class Measured:
    ms: float
    prompt_tokens: int
    prefilled: int


def measure_suggestion(ours: Ours) -> dict[str, float]:
    """Medians over a few places; a new engine for each cold one, so that nothing is cached."""
    cold, warm = [], []
    for place in places(_PLACES):
        engine = ours.engine(ours.speculator())
        completer = Completer(engine, ours.tokenizer)
        cold.append(complete(completer, place, place.offset))
        completer.forget()  # the answer, not the rows: the next key is to be computed
        warm.append(complete(completer, place, place.offset + 1))
        engine.close()
    return {
        "prompt_tokens": statistics.median(m.prompt_tokens for m in cold),
        "cold_ms": round(statistics.median(m.ms for m in cold), 1),
        "warm_ms": round(statistics.median(m.ms for m in warm), 1),
        "warm_prefilled_tokens": statistics.median(m.prefilled for m in warm),
    }


def complete(completer: Completer, place: Place, offset: int) -> Measured:
    """The suggestion at ``offset`` of a file whose text after the place is not written yet."""
    text = place.text[:offset] + "\n"
    request = CompletionRequest(Cursor(place.path, text, CharOffset(offset), "python"), Trigger.INVOKED)
    began = time.perf_counter()
    timing = completer.complete(request, CancelToken()).receipt.timing
    ms = (time.perf_counter() - began) * 1000
    return Measured(ms, timing.prompt_tokens, timing.prompt_tokens - timing.cached_tokens)
