"""The real tokenizer of the default model: format, exact text, moves of the window, cost."""

from __future__ import annotations

import inspect
import itertools
import json.decoder
import textwrap
import time
from pathlib import Path

import pytest

from holefill.context.prompt import build_prompt, choose_format
from holefill.context.window import prefix_window
from holefill.model.tokenizer import Tokenizer

SOURCE = inspect.getsource(inspect)
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def real_tokenizer(default_model_path: Path) -> Tokenizer:
    return Tokenizer.load(default_model_path)


def test_prompt_says_exactly_what_the_document_says(real_tokenizer: Tokenizer) -> None:
    fmt = choose_format(real_tokenizer)
    assert fmt.name == "qwen2.5-coder"
    hostile = SOURCE[:9000] + "\nx = '<|fim_middle|>' + "
    prompt = build_prompt(fmt, real_tokenizer, hostile, SOURCE[9000:])
    start = prompt.ids.index(real_tokenizer.special_id("<|fim_prefix|>")) + 1
    assert real_tokenizer.decode(prompt.ids[start : start + prompt.prefix_tokens]) == hostile[prompt.prefix_start :]
    assert prompt.ids.count(real_tokenizer.special_id("<|fim_middle|>")) == 1
    assert 400 <= prompt.prefix_tokens <= 640
    assert prompt.suffix_tokens == 64


def test_typing_real_code_keeps_the_start_and_the_ids(real_tokenizer: Tokenizer) -> None:
    for at in range(5000, 60_000, 7000):
        windows = [prefix_window(real_tokenizer, SOURCE[: at + count], 400) for count in range(50)]
        assert sum(one.start != other.start for one, other in itertools.pairwise(windows)) <= 1
        for one, other in itertools.pairwise(windows):
            if one.start == other.start:
                same = sum(
                    1
                    for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one.ids, other.ids, strict=False))
                )
                assert len(one.ids) - same <= 4


def test_five_megabytes_cost_under_twenty_milliseconds(real_tokenizer: Tokenizer) -> None:
    for text in ((inspect.getsource(textwrap) + inspect.getsource(json.decoder)) * 200, "x" * 5_000_000):
        before = time.thread_time()
        build_prompt(choose_format(real_tokenizer), real_tokenizer, text, text)
        assert time.thread_time() - before < 0.02
