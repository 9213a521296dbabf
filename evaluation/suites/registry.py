"""Suites as data: one TOML file each (loader, cut, measures, prompt policy)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import cattrs

from holefill.model.request import Shape


@dataclass(frozen=True, slots=True)
class PromptPolicy:
    """The part of ``CompleterOptions`` that the benchmark's protocol fixes."""

    prefix_tokens: int
    suffix_tokens: int
    max_new_tokens: int
    context_tokens: int = 0
    """Budget of repository context in the arm with context on."""
    shape: Shape | None = None
    """None: the product's own choice at the cursor."""
    stop_rule: bool = True
    """Off: the model's own stop tokens and the token limit alone end an answer, to see where it would end."""
    masks: bool = True
    """Off where the benchmark leaves out the line breaks around its holes: no answer closes such a file."""
    heal: bool = True
    """Half-typed words are left out of the prompt, as in ``CompleterOptions``."""


@dataclass(frozen=True, slots=True)
class Suite:
    name: str
    version: int
    """Raised when a change makes the numbers incomparable with earlier ones."""
    title: str
    loader: str
    cut: str
    measures: tuple[str, ...]
    prompt: PromptPolicy
    default_context: str = "off"
    execute: bool = False
    """Run the completed program against its test (pass@1)."""
    needs_data: bool = True


def load_suites() -> Mapping[str, Suite]:
    """Every ``*.toml`` beside this file, by name."""
    folder = resources.files("holefill.evaluation.suites")
    texts = [entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name.endswith(".toml")]
    converter = cattrs.Converter(forbid_extra_keys=True)
    suites = [converter.structure(tomllib.loads(text), Suite) for text in texts]
    return {suite.name: suite for suite in sorted(suites, key=lambda suite: suite.name)}
