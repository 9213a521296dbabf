"""Names beside a plot's rows: any length is drawn, nothing that fits is changed, the end of a long one is kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holefill.evaluation.plot_labels import MAX_LINES, fitted, width
from holefill.evaluation.plots import Bar, bars, differences


@given(st.text(max_size=120), st.floats(4.0, 40.0))
def test_no_line_is_wider_than_its_room(label: str, room: float) -> None:
    lines = fitted(label, room)
    assert 1 <= len(lines) <= MAX_LINES
    assert all(width(line) <= room for line in lines)
    if not any(line.startswith("…") for line in lines):
        assert "".join("".join(lines).split()) == "".join(label.split())


def test_what_fits_stays_and_what_does_not_keeps_its_end() -> None:
    assert fitted("context on", 13.0) == ("context on",)
    assert fitted("a kind with a rather long name", 13.0) == ("a kind with a rather", "long name")
    first, second = fitted("adapter qwen2.5-coder-0.5b-3f2a9c1d7e5b4f60", 13.0)
    assert first.startswith("adapter qwen2.5-")
    assert second.startswith("…")
    assert second.endswith("3f2a9c1d7e5b4f60")


def test_a_long_name_is_whole_in_the_tooltip_and_makes_room() -> None:
    name = "adapter qwen2.5-coder-0.5b-3f2a9c1d7e5b4f60 & more"
    for drawn, short in ((bars, bars("t", [Bar("a", 1.0)])), (differences, differences("t", [Bar("a", 1.0)]))):
        page = drawn("t", [Bar(name, 1.0)])
        assert f"<title>{name.replace('&', '&amp;')}</title>" in page
        assert height(page) > height(short)


def height(page: str) -> float:
    return float(page.split('viewBox="0 0 560 ')[1].split('"')[0])
