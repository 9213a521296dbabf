"""``holefill bench``: speed on this machine, beside llama.cpp where ``llama_cpp`` is installed, alone otherwise.

All contestants run the same token ids in the same run, repeats interleaved, medians reported; wall and CPU time both.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import cast, get_args

import click

from holefill.evaluation.bench_contestants import Contestant, LlamaCpp, Ours, resident_mb
from holefill.evaluation.bench_speculation import measure_on_replay, measure_on_source
from holefill.evaluation.bench_suggestion import measure_suggestion
from holefill.evaluation.bench_text import code_ids
from holefill.evaluation.runner import commit_name, device_name, model_sha256
from holefill.evaluation.terminal import print_last_line, progress_bar
from holefill.model.errors import ModelError
from holefill.model.shipped import shipped_adapter
from holefill.model.store import ModelStore
from holefill.model.transformer import WeightFormat

PREFILL = (128, 512)
DECODE_AT = 512
DECODE_TOKENS = 16
ROWS = (1, 2, 4, 8, 16, 32)
ROWS_AT = 1024


@dataclass(frozen=True, slots=True)
class Seconds:
    wall: float
    cpu: float
    """Of all threads of the process."""


def timed(work: Callable[[], object]) -> Seconds:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def median(samples: Sequence[Seconds]) -> Seconds:
    return Seconds(statistics.median(s.wall for s in samples), statistics.median(s.cpu for s in samples))


def interleaved(
    contestants: Mapping[str, Contestant], repeats: int, work: Callable[[Contestant], Seconds], step: Callable[[], None]
) -> dict[str, Seconds]:
    """Contestants take turns, so that noise of the machine meets all of them."""
    samples: dict[str, list[Seconds]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            samples[name].append(work(contestant))
            step()
    return {name: median(taken) for name, taken in samples.items()}


def prefill(contestant: Contestant, ids: Sequence[int], n: int) -> Seconds:
    contestant.rewind(0)
    return timed(lambda: contestant.forward(ids[:n], all_logits=False))


def decode(contestant: Contestant, ids: Sequence[int]) -> Seconds:
    """Of one token, with ``DECODE_AT`` before it."""
    contestant.rewind(0)
    contestant.forward(ids[:DECODE_AT], all_logits=False)

    def run() -> None:
        for token in ids[DECODE_AT : DECODE_AT + DECODE_TOKENS]:
            contestant.forward([token], all_logits=False)

    seconds = timed(run)
    return Seconds(seconds.wall / DECODE_TOKENS, seconds.cpu / DECODE_TOKENS)


def rows(contestant: Contestant, ids: Sequence[int], n: int) -> Seconds:
    """One forward of n new tokens at ``ROWS_AT``, logits of all n: what verifying a draft costs."""
    contestant.rewind(ROWS_AT)
    return timed(lambda: contestant.forward(ids[ROWS_AT : ROWS_AT + n], all_logits=True))


def measure_speed(
    contestants: Mapping[str, Contestant], ids: Sequence[int], repeats: int, step: Callable[[], None]
) -> dict[str, dict[str, object]]:
    result: dict[str, dict[str, object]] = {name: {} for name in contestants}
    for n in PREFILL:
        for name, s in interleaved(contestants, repeats, partial(prefill, ids=ids, n=n), step).items():
            result[name][f"prefill_{n}_tok_s"] = round(n / s.wall, 1)
            result[name][f"prefill_{n}_tok_per_cpu_s"] = round(n / s.cpu, 1)
    for name, s in interleaved(contestants, repeats, partial(decode, ids=ids), step).items():
        result[name]["decode_tok_s"] = round(1 / s.wall, 2)
        result[name]["decode_tok_per_cpu_s"] = round(1 / s.cpu, 2)
    for contestant in contestants.values():
        contestant.rewind(0)
        contestant.forward(ids[:ROWS_AT], all_logits=False)
    times = {n: interleaved(contestants, repeats, partial(rows, ids=ids, n=n), step) for n in ROWS}
    for name in contestants:
        result[name]["t_n_ms"] = {n: round(1000 * times[n][name].wall, 2) for n in ROWS}
        result[name]["t_n_ratio"] = {n: round(times[n][name].wall / times[1][name].wall, 2) for n in ROWS}
        result[name]["t_n_cpu_ratio"] = {n: round(times[n][name].cpu / times[1][name].cpu, 2) for n in ROWS}
    return result


@click.command(short_help="Speed on this machine, from prefill to a suggestion.")
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Name or GGUF file.")
@click.option(
    "--weights",
    default="auto",
    show_default=True,
    type=click.Choice(("auto", *get_args(WeightFormat)[1:])),
    help="Form of our weights; auto is what this machine would serve, w8a8 the torch back end.",
)
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(min=1), help="Of every timing.")
@click.option("--prompts", default=4, show_default=True, type=click.IntRange(min=1), help="Of the speculation part.")
@click.option("--speculation/--no-speculation", default=True, show_default=True, help="What drafting brings.")
@click.option("--speed/--no-speed", default=True, show_default=True, help="Step times; off leaves speculation alone.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with replay sets: drafting is measured on them, each drafter alone and fixed trees too.",
)
@click.option(
    "--peer-drafts", is_flag=True, help="With --data: llama.cpp answers too, plain and with its own prompt lookup."
)
@click.option("--draft-model", help="With --data: this smaller model drafts too, alone and beside the automaton.")
@click.option("--with-adapter", is_flag=True, help="The model with the adapter that comes with it.")
@click.option("--llama/--no-llama", default=True, show_default=True, help="Beside llama.cpp, where it is installed.")
@click.option("--gpu", is_flag=True, help="A GPU's figures instead: bandwidth, trees, shared prefixes, transformers.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Also append the line here.")
def bench(
    model: str,
    weights: str,
    repeats: int,
    prompts: int,
    speculation: bool,
    speed: bool,
    data: Path | None,
    peer_drafts: bool,
    draft_model: str | None,
    with_adapter: bool,
    llama: bool,
    gpu: bool,
    output: Path | None,
) -> None:
    """Speed on this machine: prefill, decode, t(n)/t(1), memory, load, a whole suggestion, speculation."""
    began = time.monotonic()
    if gpu:
        _bench_gpu(model, repeats, output)
        return
    if peer_drafts and data is None:
        raise click.UsageError("--peer-drafts answers the prompts of --data: name its folder")
    if draft_model is not None and data is None:
        raise click.UsageError("--draft-model is measured on the prompts of --data: name its folder")
    if peer_drafts and find_spec("llama_cpp") is None:
        raise click.ClickException("--peer-drafts needs llama.cpp: pip install 'holefill[peers]'")
    try:
        path = ModelStore.default().resolve(model)
        adapter = shipped_adapter(model) if with_adapter else None
        ours, load = _loaded(path, cast(WeightFormat, "packed" if weights == "auto" else weights), adapter)
        if draft_model is not None:
            ours.draft_with(ModelStore.default().resolve(draft_model))
    except (ModelError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    ids = code_ids(ours.tokenizer, ROWS_AT + max(ROWS))
    line: dict[str, object] = {
        "bench": "speed", "model": Path(model).name, "model_sha256": model_sha256(model), "device": device_name(),
        "commit": commit_name(), "weights": weights, "threads": ours.threads, "repeats": repeats,
        "adapter": adapter is not None,
    }  # fmt: skip
    _show("load", {"seconds": round(load.wall, 2), "cpu_seconds": round(load.cpu, 2)})
    if speed:
        line |= _bench_speed(ours, path, load, ids, repeats, llama=llama)
    if speculation:
        peer = path if peer_drafts else None
        drafted = measure_on_source(ours, prompts) if data is None else measure_on_replay(ours, data, prompts, peer)
        _show("speculation", drafted)
        line["speculation"] = drafted
    line["seconds"] = round(time.monotonic() - began, 1)
    if output is not None:
        with output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    print_last_line(line)


def _bench_speed(
    ours: Ours, path: Path, load: Seconds, ids: Sequence[int], repeats: int, *, llama: bool
) -> dict[str, object]:
    suggestion = measure_suggestion(ours)
    rss_mb = resident_mb()  # of the process that served suggestions, before a second model is in it
    _show("suggestion", suggestion)
    contestants: dict[str, Contestant] = {"holefill": ours}
    if llama:
        try:
            contestants["llama.cpp"] = LlamaCpp(path, ours.threads)
        except ImportError:
            click.echo("llama_cpp is not installed: holefill runs alone (`pip install llama-cpp-python`)")
    with progress_bar() as bar:
        steps = repeats * len(contestants) * (len(PREFILL) + 1 + len(ROWS))
        row = bar.add_task("bench", total=steps)
        speed = measure_speed(contestants, ids, repeats, lambda: bar.advance(row))
    for name, figures in speed.items():
        _show(name, figures)
    line: dict[str, object] = {"load_s": round(load.wall, 2), "rss_mb": rss_mb, "suggestion": suggestion}
    line.update(speed)
    if "llama.cpp" in speed:
        line["against_llama.cpp"] = _ratios(speed["holefill"], speed["llama.cpp"])
        _show("holefill / llama.cpp", _ratios(speed["holefill"], speed["llama.cpp"]))
    return line


def _bench_gpu(model: str, repeats: int, output: Path | None) -> None:
    from holefill.evaluation.bench_gpu import measure_gpu, require_gpu

    require_gpu()
    try:
        figures = measure_gpu(ModelStore.default().resolve(model), repeats)
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    line: dict[str, object] = {
        "bench": "gpu", "model": Path(model).name, "model_sha256": model_sha256(model), "device": device_name(),
        "commit": commit_name(), "repeats": repeats, **figures,
    }  # fmt: skip
    _show("gpu", figures)
    if output is not None:
        with output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    print_last_line(line)


def _loaded(path: Path, weights: WeightFormat, adapter: Path | None) -> tuple[Ours, Seconds]:
    """A warm start: what the packed cache beside the model is for. The first start ever writes it and is not timed."""
    Ours(path, weights, adapter)
    loaded: list[Ours] = []
    seconds = timed(lambda: loaded.append(Ours(path, weights, adapter)))
    return loaded[0], seconds


def _ratios(mine: Mapping[str, object], other: Mapping[str, object]) -> dict[str, float]:
    """Ours over theirs; above 1 we are faster."""
    names = [name for name, value in mine.items() if isinstance(value, float)]
    return {name: round(float(str(mine[name])) / float(str(other[name])), 2) for name in names}


def _show(title: str, figures: Mapping[str, object]) -> None:
    click.secho(title, bold=True)
    for name, value in figures.items():
        click.echo(f"  {name:24} {value}")
