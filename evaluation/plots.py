"""Three plots as inline SVG: bars with intervals, a cumulative distribution, a curve. No script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LEFT, _RIGHT, _ROW = 640, 190, 60, 26
_COLOURS = ("#2f6f9f", "#d9822b", "#3d9a6c", "#a3527a", "#7a6f9b", "#8a8a3a")


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    value: float
    low: float | None = None
    high: float | None = None
    series: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    label: str
    points: tuple[tuple[float, float], ...]


def bars(title: str, rows: Sequence[Bar], top: float = 100.0) -> str:
    """Horizontal, 0 to ``top``; whiskers where an interval is known."""
    height = 40 + _ROW * len(rows)
    scale = (_WIDTH - _LEFT - _RIGHT) / max(top, 1e-9)
    parts = [_grid(top, scale, height)]
    for number, bar in enumerate(rows):
        y = 24 + _ROW * number
        width = max(0.5, bar.value * scale)
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(bar.label)}</text>')
        parts.append(
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="16" rx="2" fill="{_colour(bar.series)}">'
            f"<title>{escape(bar.label)}: {bar.value:.1f} {escape(bar.note)}</title></rect>"
        )
        if bar.low is not None and bar.high is not None:
            x1, x2 = _LEFT + bar.low * scale, _LEFT + bar.high * scale
            parts.append(
                f'<path d="M{x1:.1f} {y + 8}H{x2:.1f}M{x1:.1f} {y + 4}v8M{x2:.1f} {y + 4}v8" class="whisker"/>'
            )
        end = _LEFT + max(bar.value, bar.high or 0.0) * scale + 6
        parts.append(f'<text x="{end:.1f}" y="{y + 13}">{bar.value:.1f}</text>')
    return _figure(title, height, parts)


def distribution(
    title: str, series: Sequence[tuple[str, Sequence[float]]], unit: str, mark: float | None = None
) -> str:
    """Share of values at or below x, for each series; ``mark`` is a vertical line with a meaning of its own."""
    curves = []
    for label, values in series:
        ordered = sorted(values)
        curves.append(Series(label, tuple((v, 100 * (i + 1) / len(ordered)) for i, v in enumerate(ordered))))
    return curve(title, curves, unit, "% of requests", mark)


def curve(title: str, series: Sequence[Series], x_label: str, y_label: str, mark: float | None = None) -> str:
    """Lines from (0, 0) up to the largest x and y."""
    height, bottom, top = 260, 210, 20
    drawn = [entry for entry in series if entry.points]
    right = max([x for entry in drawn for x, _ in entry.points] + [mark or 0.0, 1e-9])
    peak = max([y for entry in drawn for _, y in entry.points] + [1e-9])
    x_scale, y_scale = (_WIDTH - 60 - _RIGHT) / right, (bottom - top) / peak
    parts = [f'<path d="M60 {top}V{bottom}H{_WIDTH - _RIGHT}" class="axis"/>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = 60 + right * share * x_scale, bottom - peak * share * y_scale
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{right * share:.0f}</text>')
        parts.append(f'<text x="54" y="{y + 4:.1f}" text-anchor="end">{peak * share:.0f}</text>')
    if mark is not None:
        parts.append(f'<path d="M{60 + mark * x_scale:.1f} {top}V{bottom}" class="mark"/>')
    for number, entry in enumerate(drawn):
        line = " ".join(f"{60 + x * x_scale:.1f},{bottom - y * y_scale:.1f}" for x, y in entry.points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{_colour(number)}" stroke-width="2"/>')
        parts.append(f'<text x="{70 + 150 * number}" y="14" fill="{_colour(number)}">{escape(entry.label)}</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{height - 14}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(f'<text x="4" y="{bottom + 34}">{escape(y_label)}</text>')
    return _figure(title, height, parts)


def _grid(top: float, scale: float, height: int) -> str:
    lines = "".join(f"M{_LEFT + top * share * scale:.1f} 18V{height - 12}" for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    return f'<path d="{lines}" class="grid"/>'


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _figure(title: str, height: int, parts: Sequence[str]) -> str:
    caption = escape(title, quote=True)
    svg = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{caption}">{"".join(parts)}</svg>'
    return f"<figure><figcaption>{caption}</figcaption>{svg}</figure>"
