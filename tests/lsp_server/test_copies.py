"""An answer that repeats training text is not shown, unless the user's file or repository has that text."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.lsp_server import copies
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.completion import CompleterOptions, Completion, CompletionRequest, Reason
from holefill.lsp_server.copies import CopyGuard, copy_guard
from holefill.model.cancel import CancelToken
from holefill.model.copies import fingerprints_of
from holefill.model.request import Candidate, Shape
from tests.lsp_server.test_completer import CharTokenizer, ScriptedEngine

THEIRS = "compute_the_orbit_of(planet, mass=5.97e24, radius=6.371e6, inclination=0.4, epoch='J2000', steps=4096)"
KNOWN = fingerprints_of([f"def orbit(planet):\n    return {THEIRS}\n"])


def cursor(before: str, after: str = "\n", root: str | None = None) -> Cursor:
    return Cursor(f"{root or '/w'}/a.py", before + after, CharOffset(len(before)), "python", root=root)


def answer(
    engine: ScriptedEngine, at: Cursor, guard: CopyGuard | None, alternatives: int = 0
) -> tuple[Completer, Completion]:
    options = replace(CompleterOptions(), shape=Shape.LINE)
    completer = Completer(engine, CharTokenizer(), options, copies=guard)
    return completer, completer.complete(CompletionRequest(at, alternatives=alternatives), CancelToken())


def test_training_text_is_not_shown_and_the_reason_says_so() -> None:
    at = cursor("def path(planet):\n    return ")
    assert answer(ScriptedEngine(THEIRS), at, None)[1].text == THEIRS
    completer, done = answer(ScriptedEngine(THEIRS), at, CopyGuard(KNOWN))
    assert (done.text, done.reason) == ("", Reason.COPY)
    assert completer.recall(CompletionRequest(at)) is None
    _, other = answer(ScriptedEngine("compute(planet)"), at, CopyGuard(KNOWN))
    assert other.reason is Reason.MODEL


def test_alternatives_are_checked_too() -> None:
    candidates = tuple(Candidate(text, -0.9, tuple(range(9))) for text in ("compute(planet)", THEIRS, "step(planet)"))
    engine = ScriptedEngine("compute(planet)", candidates=candidates)
    _, done = answer(engine, cursor("def path(planet):\n    return "), CopyGuard(KNOWN), alternatives=2)
    assert done.text == "compute(planet)"
    assert done.alternatives == ("step(planet)",)


def test_what_stands_in_the_users_file_is_the_users() -> None:
    at = cursor("def path(planet):\n    return ", f"\n\n\ndef old(planet):\n  return {THEIRS}\n")
    _, done = answer(ScriptedEngine(THEIRS), at, CopyGuard(KNOWN))
    assert (done.text, done.reason) == (THEIRS, Reason.MODEL)


def test_what_stands_in_the_repository_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orbits.py").write_text(f"def orbit(planet):\n    return {THEIRS.replace(', ', ',  ')}\n")
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    at = cursor("def path(planet):\n    return ", root=str(tmp_path))
    guard = CopyGuard(KNOWN, lambda root: index)
    monkeypatch.setattr(copies, "SEARCH_S", 60.0)
    assert answer(ScriptedEngine(THEIRS), at, guard)[1].reason is Reason.MODEL
    monkeypatch.setattr(time, "perf_counter", lambda: float("inf"))  # no time left: not known to be the user's
    assert guard.refuses(THEIRS, at)


def test_a_tuned_adapter_is_checked_by_what_comes_with_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, tuned = tmp_path / "shipped.safetensors", tmp_path / "tuned.safetensors"
    monkeypatch.setattr(copies, "shipped_adapter", lambda model: shipped)
    assert copy_guard(tuned, "m") is None
    KNOWN.save(shipped.with_suffix(".copies"))
    for adapter in (shipped, tuned):
        guard = copy_guard(adapter, "m")
        assert guard is not None
        assert guard.refuses(THEIRS, cursor("x = "))
    assert copy_guard(None, "m") is None
