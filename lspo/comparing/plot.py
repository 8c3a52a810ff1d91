"""The curves of a comparison as an SVG file: mean of the runs, and its 95% interval, one panel per budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from lspo.comparing.comparison import AtBudget, Comparison
from lspo.comparing.curves import AXES, Curve
from lspo.comparing.statistics import Scores, mean_interval

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31")
"""Okabe and Ito's, which colour-blind readers can tell apart."""
PANEL, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 300, 52, 16, 58, 46
PLACES, RESAMPLES = 49, 2000
THOUSAND, MILLION, BILLION = 1e3, 1e6, 1e9


def plot(comparison: Comparison) -> str:
    """The text of an SVG file."""
    names = [method.name for method in comparison.methods]
    bands = [{name: _band(part, name) for name in names} for part in comparison.parts]
    heights = _heights(comparison.parts)
    body = [_text(LEFT, 18, ", ".join(comparison.metrics), "start", bold=True)]
    place = LEFT
    for name, colour in zip(names, _colours(len(names)), strict=True):
        body.append(f'<rect x="{place}" y="28" width="10" height="10" fill="{colour}"/>')
        body.append(_text(place + 14, 37, name, "start"))
        place += 30 + 7 * len(name)
    # Panels are as wide as the legend above them.
    panel = max(PANEL, math.ceil(place / max(len(comparison.parts), 1)))
    for number, (part, band) in enumerate(zip(comparison.parts, bands, strict=True)):
        body.append(f'<g transform="translate({panel * number} 0)">{_panel(part, band, heights, panel)}</g>')
    width = max(panel * len(comparison.parts), place)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(body)}</svg>\n"
    )


def _heights(parts: Sequence[AtBudget]) -> list[float]:
    """Ticks around what single runs had. An interval of two runs would make the curves flat; it is cut off there."""
    values = [
        curve.at(place)
        for part in parts
        for place in np.linspace(part.budget.start, part.budget.end, PLACES)
        for runs in part.curves.values()
        for run in runs
        for curve in run
    ]
    return _ticks(min(values), max(values))


def _colours(count: int) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(count)]


def _band(part: AtBudget, name: str) -> list[tuple[float, float, float, float]]:
    """Place, mean, and its bounds, from start to end of the budget."""
    runs = part.curves[name]
    span = np.linspace(part.budget.start, part.budget.end, PLACES)
    found = []
    for place in (float(one) for one in dict.fromkeys(span)):
        scores = _scores(runs, place)
        interval = mean_interval(scores, resamples=RESAMPLES)
        middle = float(scores.mean())
        found.append((place, middle, *((middle, middle) if interval is None else (interval.low, interval.high))))
    return found


def _scores(runs: Sequence[Sequence[Curve]], place: float) -> Scores:
    return np.array([[curve.at(place) for curve in run] for run in runs])


def _panel(
    part: AtBudget, bands: dict[str, list[tuple[float, float, float, float]]], heights: list[float], width: int
) -> str:
    start, end = part.budget.start, part.budget.end
    right, base = width - RIGHT, HEIGHT - BOTTOM

    def x(value: float) -> float:
        return LEFT + (value - start) / (end - start or 1) * (right - LEFT)

    def y(value: float) -> float:
        value = min(max(value, heights[0]), heights[-1])
        return base - (value - heights[0]) / (heights[-1] - heights[0]) * (base - TOP)

    parts = []
    for value in heights:
        parts.append(f'<path d="M{LEFT} {y(value):.1f}H{right}" stroke="#dddddd"/>')
        parts.append(_text(LEFT - 6, y(value) + 4, f"{value:g}", "end"))
    for value in _ticks(start, end):
        if start <= value <= end:
            parts.append(f'<path d="M{x(value):.1f} {base}v4" stroke="black"/>')
            parts.append(_text(x(value), base + 17, _short(value), "middle"))
    parts.append(f'<path d="M{LEFT} {base}H{right}" stroke="black"/>')
    parts.append(_text((LEFT + right) / 2, HEIGHT - 8, AXES[part.axis], "middle"))
    for colour, band in zip(_colours(len(bands)), bands.values(), strict=True):
        upper, lower = ([(x(row[0]), y(row[side])) for row in band] for side in (3, 2))
        parts.append(f'<path d="{_path([*upper, *reversed(lower)])}Z" fill="{colour}" fill-opacity="0.15"/>')
        points = _path([(x(row[0]), y(row[1])) for row in band])
        parts.append(f'<path d="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return "".join(parts)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _text(x: float, y: float, words: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers at equal steps that enclose a range."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    size = 10.0 ** math.floor(math.log10((high - low) / about))
    step = next(size * times for times in (1, 2, 5, 10) if (high - low) / (size * times) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _short(value: float) -> str:
    for unit, letter in ((BILLION, "G"), (MILLION, "M"), (THOUSAND, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"
