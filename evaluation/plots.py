"""Plots as inline SVG: bars with intervals, differences around zero, distributions, curves. No script, no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from math import floor, log10

from holefill.evaluation.plot_labels import fitted

WIDTH = 560
_LEFT, _RIGHT, _TOP, _ROW = 166, 100, 8, 24
_LABEL_GAP, _FONT, _LINE = 8, 12, 14
_PLOT_LEFT, _PLOT_BOTTOM = 44, 40
_CURVE_HEIGHT = 250
COLOURS = 6
"""Classes ``c0`` … ``c5`` of the page's style."""


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    value: float
    low: float | None = None
    high: float | None = None
    series: int = 0
    note: str = ""
    """Small print behind the value."""


@dataclass(frozen=True, slots=True)
class Series:
    label: str
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float], ...] = ()
    """(low, high) at each point."""
    series: int = 0


Legend = Sequence[tuple[str, int]]
"""(name, series)."""


def bars(title: str, rows: Sequence[Bar], top: float = 100.0, legend: Legend = ()) -> str:
    """Horizontal, 0 to ``top``; whiskers where an interval is known. Equal neighbouring labels are written once."""
    scale = (WIDTH - _LEFT - _RIGHT) / max(top, 1e-9)
    labels = [bar.label if n == 0 or rows[n - 1].label != bar.label else "" for n, bar in enumerate(rows)]
    places, end = _rows(labels)
    height = end + 22
    parts = [_grid([(_LEFT + v * scale, _number(v)) for v in _ticks(0.0, top)], height)]
    for bar, label, y in zip(rows, labels, places, strict=True):
        parts.append(_label(label, y))
        parts.append(
            f'<rect class="bar c{bar.series % COLOURS}" x="{_LEFT}" y="{y + 4}" rx="2" height="{_ROW - 9}" '
            f'width="{max(1.5, min(bar.value, top) * scale):.1f}"><title>{escape(_told(bar))}</title></rect>'
        )
        if bar.low is not None and bar.high is not None:
            parts.append(_whisker(_LEFT + bar.low * scale, _LEFT + bar.high * scale, y + _ROW / 2 - 0.5))
        behind = _LEFT + min(top, max(bar.value, bar.high or 0.0)) * scale + 7
        note = f' <tspan class="soft">{escape(bar.note)}</tspan>' if bar.note else ""
        parts.append(f'<text x="{behind:.1f}" y="{y + 16}">{bar.value:.1f}{note}</text>')
    return _figure(title, height, parts, legend)


def differences(title: str, rows: Sequence[Bar]) -> str:
    """Points with intervals around zero; filled where the interval excludes it."""
    reach = max([abs(edge) for bar in rows for edge in (bar.low, bar.high) if edge is not None] + [1e-9])
    reach = _ticks(0.0, max(reach * 1.05, 1.0))[-1]
    scale = (WIDTH - _LEFT - _RIGHT) / (2 * reach)
    zero = _LEFT + reach * scale
    places, end = _rows([bar.label for bar in rows])
    height = end + 22
    marks = [
        (zero + sign * v * scale, _signed(sign * v)) for v in _ticks(0.0, reach) for sign in (-1, 1) if v or sign > 0
    ]
    parts = [_grid(marks, height), f'<path class="zero" d="M{zero:.1f} {_TOP}V{height - 18}"/>']
    for bar, y in zip(rows, places, strict=True):
        low, high = bar.low or 0.0, bar.high or 0.0
        kind = "sure" if low > 0 or high < 0 else "open"
        parts.append(_label(bar.label, y))
        parts.append(_whisker(zero + low * scale, zero + high * scale, y + _ROW / 2))
        parts.append(
            f'<circle class="dot {kind} c{bar.series % COLOURS}" cx="{zero + bar.value * scale:.1f}" '
            f'cy="{y + _ROW / 2}" r="5"><title>{escape(_told(bar))}</title></circle>'
        )
        parts.append(
            f'<text x="{WIDTH - _RIGHT + 8}" y="{y + 16}">{bar.value:+.1f} '
            f'<tspan class="soft">{escape(bar.note)}</tspan></text>'
        )
    return _figure(title, height, parts)


def distribution(
    title: str, series: Sequence[tuple[str, Sequence[float], int]], unit: str, mark: tuple[float, str] | None = None
) -> str:
    """Share of values at or below x up to the 99th percentile; ``mark`` is a vertical line with a name."""
    curves, right = [], 0.0
    for label, values, colour in series:
        ordered = sorted(values)
        right = max(right, ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))])
        points = tuple((v, 100 * (i + 1) / len(ordered)) for i, v in enumerate(ordered))
        curves.append(Series(label, points, series=colour))
    clipped = [replace(c, points=tuple(point for point in c.points if point[0] <= right)) for c in curves]
    return curve(title, clipped, unit, "% of answers", mark, top=100.0, dots=False)


def curve(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    mark: tuple[float, str] | None = None,
    top: float | None = None,
    dots: bool = True,
) -> str:
    """Lines from (0, 0) up to the largest x and y, with a band where intervals are known."""
    drawn = [entry for entry in series if entry.points]
    x_marks = _ticks(0.0, max([x for entry in drawn for x, _ in entry.points] + [mark[0] if mark else 0.0, 1e-9]))
    edges = [y for entry in drawn for pair in (*entry.points, *entry.band) for y in pair[1:]]
    y_marks = _ticks(0.0, max([*edges, 1e-9]) if top is None else top)
    x_scale = (WIDTH - _PLOT_LEFT - 24) / (x_marks[-1] or 1.0)
    bottom = _CURVE_HEIGHT - _PLOT_BOTTOM
    y_scale = (bottom - 14) / (y_marks[-1] or 1.0)

    def at(x: float, y: float) -> str:
        return f"{_PLOT_LEFT + x * x_scale:.1f},{bottom - y * y_scale:.1f}"

    parts = []
    for y in y_marks:
        level = bottom - y * y_scale
        parts.append(f'<path class="grid" d="M{_PLOT_LEFT} {level:.1f}H{WIDTH - 24}"/>')
        parts.append(
            f'<text class="tick" x="{_PLOT_LEFT - 6}" y="{level + 4:.1f}" text-anchor="end">{_number(y)}</text>'
        )
    for x in x_marks:
        place = _PLOT_LEFT + x * x_scale
        parts.append(f'<text class="tick" x="{place:.1f}" y="{bottom + 16}" text-anchor="middle">{_number(x)}</text>')
    if mark is not None:
        place = _PLOT_LEFT + mark[0] * x_scale
        parts.append(f'<path class="mark" d="M{place:.1f} 8V{bottom}"/>')
        anchor = "end" if place > WIDTH - 170 else "start"
        shift = -5 if anchor == "end" else 5
        where = f'x="{place + shift:.1f}" y="{bottom - 6}" text-anchor="{anchor}"'
        parts.append(f'<text class="soft" {where}>{escape(mark[1])}</text>')
    for entry in drawn:
        parts += _line(entry, entry.series % COLOURS, at, dots)
    parts.append(
        f'<text class="tick" x="{WIDTH / 2}" y="{_CURVE_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
    )
    return _figure(title, _CURVE_HEIGHT, parts, [(entry.label, entry.series) for entry in drawn], y_label)


def _line(entry: Series, colour: int, at: Callable[[float, float], str], dots: bool) -> list[str]:
    parts = []
    if entry.band:
        edge = [at(x, high) for (x, _), (_, high) in zip(entry.points, entry.band, strict=True)]
        edge += [at(x, low) for (x, _), (low, _) in reversed(list(zip(entry.points, entry.band, strict=True)))]
        parts.append(f'<polygon class="band c{colour}" points="{" ".join(edge)}"/>')
    parts.append(f'<polyline class="line c{colour}" points="{" ".join(at(x, y) for x, y in entry.points)}"/>')
    if dots:
        for x, y in entry.points:
            place = at(x, y).split(",")
            parts.append(
                f'<circle class="dot sure c{colour}" cx="{place[0]}" cy="{place[1]}" r="3.5">'
                f"<title>{escape(entry.label)}: {_number(x)}, {y:.1f}</title></circle>"
            )
    return parts


def _rows(labels: Sequence[str]) -> tuple[list[float], float]:
    """The middle of each row is ``_ROW / 2`` below its place; a label of two lines takes more room. And the end."""
    places, y = [], float(_TOP)
    for label in labels:
        extra = _LINE * (len(_lines(label)) - 1)
        places.append(y + extra / 2)
        y += _ROW + extra
    return places, y


def _lines(label: str) -> tuple[str, ...]:
    return fitted(label, (_LEFT - _LABEL_GAP) / _FONT)


def _label(label: str, y: float) -> str:
    """The whole name is in the tooltip."""
    lines = _lines(label) if label else ()
    top = y + 16 - _LINE * (len(lines) - 1) / 2
    tip = f"<title>{escape(label)}</title>" if len(lines) > 1 else ""
    return "".join(
        f'<text x="{_LEFT - _LABEL_GAP}" y="{top + _LINE * n:g}" text-anchor="end">{escape(line)}{tip}</text>'
        for n, line in enumerate(lines)
    )


def _whisker(x1: float, x2: float, y: float) -> str:
    return f'<path class="whisker" d="M{x1:.1f} {y}H{x2:.1f}M{x1:.1f} {y - 4}v8M{x2:.1f} {y - 4}v8"/>'


def _grid(marks: Sequence[tuple[float, str]], height: float) -> str:
    lines = "".join(f"M{x:.1f} {_TOP}V{height - 18}" for x, _ in marks)
    texts = "".join(
        f'<text class="tick" x="{x:.1f}" y="{height - 4}" text-anchor="middle">{t}</text>' for x, t in marks
    )
    return f'<path d="{lines}" class="grid"/>{texts}'


def _ticks(low: float, high: float) -> list[float]:
    """Four to six round numbers from ``low`` to the first at or above ``high``."""
    span = max(high - low, 1e-9)
    power = 10.0 ** floor(log10(span / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 5)
    count = -int(-(span / step) // 1)
    return [low + step * number for number in range(count + 1)]


def _number(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


def _signed(value: float) -> str:
    return "0" if not value else f"{value:+g}"


def _told(bar: Bar) -> str:
    interval = "" if bar.low is None or bar.high is None else f" [{bar.low:.1f}, {bar.high:.1f}]"
    return f"{bar.label}: {bar.value:.1f}{interval} {bar.note}".strip()


def _figure(title: str, height: float, parts: Sequence[str], legend: Legend = (), note: str = "") -> str:
    caption = escape(title, quote=True)
    keys = "".join(f'<span class="key c{n % COLOURS}">{escape(name)}</span>' for name, n in legend)
    soft = f' <span class="soft">{escape(note)}</span>' if note else ""
    svg = f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{caption}">{"".join(parts)}</svg>'
    return f'<figure><figcaption>{caption}{soft}</figcaption><div class="keys">{keys}</div>{svg}</figure>'
