"""What the engine did, as counters in Prometheus' text format; numbers only, never text."""

from __future__ import annotations

from collections import Counter

from holefill.model.request import FinishReason, Timing

BUCKETS_MS = (10, 25, 50, 100, 200, 400, 700, 1500, 3000, 10000)


class Metrics:
    """Touched from the event loop only."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._finished: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()
        self._latencies: Counter[float] = Counter()
        self._latency_sum = 0.0

    def record(self, finish: FinishReason, timing: Timing) -> None:
        self._finished[finish.value] += 1
        self._sums["prompt_tokens"] += timing.prompt_tokens
        self._sums["cached_tokens"] += timing.cached_tokens
        self._sums["completion_tokens"] += timing.completion_tokens
        self._sums["forwards"] += timing.forwards
        for stage in ("queue", "prefill", "decode"):
            self._sums[f"{stage}_milliseconds"] += round(getattr(timing, f"{stage}_ms"))
        total = timing.queue_ms + timing.prefill_ms + timing.decode_ms
        self._latency_sum += total
        self._latencies[next((bucket for bucket in BUCKETS_MS if total <= bucket), float("inf"))] += 1

    def record_error(self) -> None:
        self._finished["error"] += 1

    def render(self) -> str:
        lines = ["# TYPE holefill_requests_total counter"]
        lines += [f'holefill_requests_total{{finish="{name}"}} {n}' for name, n in sorted(self._finished.items())]
        for name in sorted(self._sums):
            lines += [f"# TYPE holefill_{name}_total counter", f"holefill_{name}_total {self._sums[name]}"]
        lines += ["# TYPE holefill_in_flight gauge", f"holefill_in_flight {self.in_flight}"]
        lines.append("# TYPE holefill_latency_milliseconds histogram")
        total = 0
        for bucket in (*BUCKETS_MS, float("inf")):
            total += self._latencies[bucket]
            bound = "+Inf" if bucket == float("inf") else str(bucket)
            lines.append(f'holefill_latency_milliseconds_bucket{{le="{bound}"}} {total}')
        lines.append(f"holefill_latency_milliseconds_sum {self._latency_sum:.1f}")
        lines.append(f"holefill_latency_milliseconds_count {total}")
        return "\n".join(lines) + "\n"
