"""The speed section of the report, from what `holefill bench` wrote: ours beside llama.cpp, draft by draft."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import cattrs

from holefill.evaluation.plots import Bar, Series, bars, curve


@dataclass(frozen=True, slots=True)
class Speed:
    prefill_512_tok_s: float = 0.0
    decode_tok_s: float = 0.0
    t_n_ms: Mapping[str, float] = field(default_factory=dict)
    """Rows of one forward → its time."""


@dataclass(frozen=True, slots=True)
class Drafting:
    mat: float = 0.0
    by_drafter: Mapping[str, float] = field(default_factory=dict)
    """Share (0–1) of the tokens that each drafter had proposed."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The fields of one line of `holefill bench` that are drawn."""

    bench: str
    model: str
    device: str
    commit: str = ""
    threads: int = 0
    speculation: Drafting = Drafting()
    contestants: Mapping[str, Speed] = field(default_factory=dict)


def read_benches(path: Path) -> list[Bench]:
    """The last line of each model in a file of `holefill bench` lines, one with step times if there is one; none for a
    file of something else."""
    found: dict[str, Bench] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line) if line.startswith('{"bench"') else None
            if row is None:
                return list(found.values())
            contestants = {name: value for name, value in row.items() if isinstance(value, dict) and "t_n_ms" in value}
            model = str(row.get("model"))
            if contestants or model not in found:
                found[model] = cattrs.structure({**row, "contestants": contestants}, Bench)
    return list(found.values())


def speed_section(benches: Sequence[Bench]) -> str:
    return "".join(_section(bench) for bench in benches)


def _section(bench: Bench) -> str:
    facts = " · ".join([bench.model, bench.device, f"{bench.threads} threads", f"commit {bench.commit or '?'}"])
    names = list(bench.contestants)
    plots = (
        []
        if not names
        else [
            _rates("Prompt tokens read per second", {n: c.prefill_512_tok_s for n, c in bench.contestants.items()}),
            _rates(
                "Tokens written per second, without drafts", {n: c.decode_tok_s for n, c in bench.contestants.items()}
            ),
            curve(
                "Time of one forward",
                [
                    Series(
                        name,
                        tuple(sorted((float(n), ms) for n, ms in bench.contestants[name].t_n_ms.items())),
                        (),
                        number,
                    )
                    for number, name in enumerate(names)
                ],
                "new tokens in the forward",
                "ms",
            ),
        ]
    )
    if bench.speculation.by_drafter:
        rows = [Bar(name, 100 * share) for name, share in sorted(bench.speculation.by_drafter.items())]
        plots.append(bars("Tokens that came from a draft, % by drafter", rows))
    return (
        f"<section><h2>Speed</h2><p class='soft'>{escape(facts)}</p><div class='plots'>{''.join(plots)}</div></section>"
    )


def _rates(title: str, rates: Mapping[str, float]) -> str:
    rows = [Bar(name, rate, series=number) for number, (name, rate) in enumerate(rates.items())]
    return bars(title, rows, top=max([*rates.values(), 1.0]))
