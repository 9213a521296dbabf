"""Keystroke replay and cancels: type the answer of a case one character at a time and time every key.

Each key waits for the answer to the one before, as a slow typist's would; the first key of a case meets a cold cache
and is reported apart (the product prefills when a document opens).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from holefill.context.items import CharOffset
from holefill.evaluation.cases import Case
from holefill.evaluation.metrics.latency import EDITOR_WINDOW_MS, in_window_share, percentile
from holefill.evaluation.runner import System, request_for
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.completion import CompleterOptions, Reason, Trigger
from holefill.model.cancel import CancelToken


@dataclass(frozen=True, slots=True)
class Key:
    case: str
    number: int
    """0 is the cold one."""
    ms: float
    prefilled: int
    """Prompt tokens that went through the model; 0 when an earlier answer served."""
    reason: str


def replay_keys(
    system: System,
    cases: Sequence[Case],
    keys_per_case: int,
    options: CompleterOptions | None = None,
    *,
    idle: bool = False,
) -> Iterator[Key]:
    """``idle``: between keys there is time to compute ahead, as the server does when the user pauses."""
    options = options or CompleterOptions()
    for case in cases:
        completer = Completer(system.backend, system.tokenizer, options)
        for number in range(min(keys_per_case, len(case.target)) + 1):
            yield _press(completer, case, number, idle=idle)


def _press(completer: Completer, case: Case, number: int, *, idle: bool) -> Key:
    request = request_for(replace(case, prefix=case.prefix + case.target[:number]), None)
    cursor = replace(request.cursor, offset=CharOffset(len(case.prefix) + number), version=number)
    # Beyond the window an answer is lost: it ends there with what it has, as in the server.
    pressed = replace(request, cursor=cursor, trigger=Trigger.AUTOMATIC, due_ms=EDITOR_WINDOW_MS * 0.8)
    if idle and number == 0:  # the cursor came to rest there
        completer.prefetch(pressed, None, CancelToken())
    began = time.perf_counter()
    completion = completer.complete(pressed, CancelToken())
    ms = (time.perf_counter() - began) * 1000
    if idle and completion.text:
        completer.prefetch(pressed, completion, CancelToken())
    timing = completion.receipt.timing
    asked = completion.reason not in (Reason.TYPE_THROUGH, Reason.CACHE)
    prefilled = timing.prompt_tokens - timing.cached_tokens if asked else 0
    return Key(case.id, number, ms, prefilled, completion.reason.value)


def cancel_delays(system: System, cases: Sequence[Case], options: CompleterOptions | None = None) -> list[float]:
    """Milliseconds from a cancel, given while a cold prompt is computed, to the end of the computation."""
    delays: list[float] = []
    for number, case in enumerate(cases):
        cancel, given = CancelToken(), [0.0]
        completer = Completer(system.backend, system.tokenizer, options or CompleterOptions())

        def give(cancel: CancelToken = cancel, given: list[float] = given) -> None:
            given[0] = time.perf_counter()
            cancel.cancel()

        # Other text in front, so that no row of an earlier request serves: 50, 100, … ms into prefill or decode.
        cold = replace(case, prefix=f"# {number} {time.perf_counter_ns()}\n" + case.prefix[-1200:])
        timer = threading.Timer(0.05 * (1 + number % 8), give)
        timer.start()
        completer.complete(request_for(cold, None), cancel)
        ended = time.perf_counter()
        timer.cancel()
        if given[0]:
            delays.append((ended - given[0]) * 1000)
    return delays


def cancel_json(delays: Sequence[float]) -> dict[str, float | int | None]:
    return {"cancels": len(delays), "cancel_p95_ms": round(percentile(delays, 95), 2) if delays else None}


def latency_json(keys: Sequence[Key]) -> dict[str, float | int | None]:
    """Of warm keys, but for ``cold_p50_ms``."""
    cold = [key.ms for key in keys if key.number == 0]
    warm = [key for key in keys if key.number > 0]
    times = [key.ms for key in warm]
    return {
        "keys": len(warm),
        "p50_ms": round(percentile(times, 50), 2) if times else None,
        "p95_ms": round(percentile(times, 95), 2) if times else None,
        "in_window": round(100 * in_window_share(times), 2) if times else None,
        "prefilled_median": round(percentile([float(key.prefilled) for key in warm], 50), 1) if warm else None,
        "prefilled_per_key": round(sum(key.prefilled for key in warm) / len(warm), 2) if warm else None,
        "type_through": round(100 * sum(k.reason == "type_through" for k in warm) / len(warm), 2) if warm else None,
        "cold_p50_ms": round(percentile(cold, 50), 2) if cold else None,
    }
