"""Settings: whatever the editor sends, the server has settings, and the user hears what was wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.lsp_server.completion import Fit
from holefill.lsp_server.config import Settings, parse_settings


def test_both_spellings_and_the_section() -> None:
    expected = Settings(max_tokens=32, enable={"python": False})
    assert parse_settings({"max_tokens": 32, "enable": {"python": False}}).settings == expected
    assert parse_settings({"holefill": {"maxTokens": 32.0, "enable": {"python": False}}}).settings == expected
    assert not expected.enabled("python")
    assert expected.enabled("go")
    assert not Settings(enable={"*": False}).enabled("go")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"max_tokens": "many"}, ["holefill.max_tokens", "number", "64"]),
        ({"max_tokens": True}, ["holefill.max_tokens", "number"]),
        ({"max_tokens": 1.5}, ["holefill.max_tokens", "whole"]),
        ({"max_tokens": 0}, ["holefill.max_tokens", "between 1 and 512"]),
        ({"enable": {"python": "yes"}}, ["holefill.enable", "true or false"]),
        ({"fit": {"python": "much"}}, ["holefill.fit", "masks", "much"]),
        ({"fit": {"python": True}}, ["holefill.fit", "masks"]),
        ({"fit": "masks"}, ["holefill.fit", "object"]),
        ({"log_level": "loud"}, ["holefill.log_level", "warning"]),
        ({"typescript": "/nowhere/tsc"}, ["holefill.typescript", "no TypeScript 7", "/nowhere/tsc"]),
        ({"typescript": __file__}, ["holefill.typescript", "no TypeScript 7"]),
        ({"engine_url": "localhost:8080"}, ["holefill.engine_url", "http://"]),
        ({"model": 3}, ["holefill.model", "text"]),
        ({"maxTokns": 3}, ["holefill.maxTokns", "max_tokens"]),
        ([1], ["object"]),
        ({"holefill": 3}, ["object"]),
    ],
)
def test_a_bad_setting_is_named_and_its_default_used(raw: object, words: list[str]) -> None:
    parsed = parse_settings(raw)
    assert parsed.settings == Settings()
    assert len(parsed.problems) == 1
    for word in words:
        assert word in parsed.problems[0]


def test_one_bad_setting_does_not_cost_the_others() -> None:
    parsed = parse_settings({"max_tokens": "many", "debounce_ms": 80}, Settings(deadline_ms=900))
    assert parsed.settings == Settings(debounce_ms=80, deadline_ms=900)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(["max_tokens", "enable", "model", "engineUrl", "showThreshold", "deadline_ms", "x"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=4) | JSON)
def test_never_raises_and_never_yields_a_wrong_type(raw: object) -> None:
    got = parse_settings(raw).settings
    assert isinstance(got.max_tokens, int)
    assert isinstance(got.model, str)
    assert isinstance(got.enable, dict)
    assert 50 <= got.deadline_ms <= 60_000


def test_masks_hold_unless_a_language_is_taken_out() -> None:
    options = parse_settings({"fit": {"go": "off", "python": "on"}}).settings.completer_options()
    assert [options.fit_of(name) for name in ("go", "python", "rust")] == [Fit.OFF, Fit.ON, Fit.MASKS]
    off = parse_settings({"fit": {"*": "off"}}).settings.completer_options()
    assert off.fit_of("python") is Fit.OFF
