"""Curves of groups of runs: a run's own values, or the mean of several seeds with its interval."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from lspo.report.curves import AXIS_LABELS, Curve, places
from lspo.report.grouping import RunGroup
from lspo.report.intervals import of_mean
from lspo.report.numbers import scale, smoothed
from lspo.report.svg import Frame, area, dots, legend, line, picture, room_for

WIDTH, HEIGHT = 400.0, 236.0
SMOOTHED_FROM = 100
"""Points from which on a moving average is drawn over them."""
MOST_POINTS = 300
GRID = 120


@dataclass(frozen=True)
class Series:
    """A curve's points on one axis; `low` and `high` are the interval of a mean, where there are several runs."""

    x: list[float]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None


def series_of(group: RunGroup, curve: Curve, axis: str) -> Series | None:
    """A group's points; None where it has none."""
    tracks = [track for run in group.runs if (track := _track(run, curve, axis))]
    if not tracks:
        return None
    if len(tracks) == 1:
        return Series([x for x, _ in tracks[0]], [y for _, y in tracks[0]])
    columns = _aligned(tracks) if axis == "iterations" else _interpolated(tracks)
    if not columns:
        return None
    intervals = [of_mean(values, "seeds") for _, values in columns]
    means = [sum(values) / len(values) for _, values in columns]
    low = [mean if one is None else one.low for one, mean in zip(intervals, means, strict=True)]
    high = [mean if one is None else one.high for one, mean in zip(intervals, means, strict=True)]
    return Series([x for x, _ in columns], means, low, high)


def _track(run: object, curve: Curve, axis: str) -> list[tuple[float, float]]:
    values = curve.values(run)  # type: ignore[arg-type]
    where = places(run, axis, evaluation=curve.section == "Evaluation")  # type: ignore[arg-type]
    return sorted((where[number], value) for number, value in values.items() if number in where)


def _aligned(tracks: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, list[float]]]:
    """Values of all runs at the iterations that all of them have."""
    shared = set.intersection(*({x for x, _ in track} for track in tracks))
    tables = [dict(track) for track in tracks]
    return [(x, [table[x] for table in tables]) for x in sorted(shared)]


def _interpolated(tracks: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, list[float]]]:
    """Values of all runs on one grid, linear between their points, over the range that all of them have."""
    begin, end = max(track[0][0] for track in tracks), min(track[-1][0] for track in tracks)
    if end <= begin:
        return []
    count = min(GRID, max(map(len, tracks)))
    grid = [begin + (end - begin) * place / max(count - 1, 1) for place in range(count)]
    return [(x, [interpolate(track, x) for track in tracks]) for x in grid]


def interpolate(track: Sequence[tuple[float, float]], x: float) -> float:
    """The value at x, linear between the points around it.

    Example:
        >>> interpolate([(0.0, 1.0), (10.0, 3.0)], 2.5)
        1.5
    """
    place = bisect_left(track, x, key=lambda point: point[0])
    if place == 0:
        return track[0][1]
    if place == len(track):
        return track[-1][1]
    (x0, y0), (x1, y1) = track[place - 1], track[place]
    return y0 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def line_plot(
    title: str, entries: Sequence[tuple[str, str, Series]], axis: str, unit: str, *, with_dots: bool = False,
    from_zero: bool = False,
) -> str:  # fmt: skip
    """The picture of some curves; each entry is a label, a colour class, and points."""
    frame = _frame(entries, axis, unit, from_zero)
    named = [(label, kind) for label, kind, _ in entries] if len(entries) > 1 else []
    key_row, more = legend(named, 4, WIDTH)
    height = HEIGHT + more
    top = (30 if not named else 50) + more
    frame = Frame(WIDTH, height, frame.x, frame.y, frame.x_label, top=top, left=room_for(frame.y))
    bands, faint, bold = "", "", ""
    for label, kind, series in entries:
        window = _window(series)
        if series.low is not None and series.high is not None:
            upper = _points(frame, series.x, smoothed(series.high, window))
            bands += area(upper, _points(frame, series.x, smoothed(series.low, window)), f"band {kind}")
        elif window > 1 and len(entries) <= 3:
            faint += line(_points(frame, series.x, series.y), f"faint {kind}")
        points = _points(frame, series.x, smoothed(series.y, window))
        bold += line(points, kind, label) + (dots(points, kind) if with_dots and len(points) <= 30 else "")
    return picture(
        WIDTH, height, title, frame.axes() + bands + faint + bold + key_row, kind=f"ax-{axis}", data=frame.data(unit)
    )


def _frame(entries: Sequence[tuple[str, str, Series]], axis: str, unit: str, from_zero: bool) -> Frame:
    xs = [x for _, _, series in entries for x in series.x]
    ys = [y for _, _, series in entries for y in (*series.y, *(series.low or ()), *(series.high or ()))]
    ys = [y for y in ys if math.isfinite(y)] or [0.0, 1.0]
    low, high = _range(ys, from_zero or unit == "share", 1.0 if unit == "share" else None)
    x_unit = {"iterations": "number", "tokens": "count", "seconds": "seconds"}[axis]
    # A run of one iteration has one place, in the middle.
    least = 0.0 if min(xs) < 0.25 * max(xs) or axis != "iterations" else min(xs)
    x = scale(least, max(max(xs), least + 1), x_unit, grow=False, whole=axis == "iterations")
    return Frame(WIDTH, HEIGHT, x, scale(low, high, unit), AXIS_LABELS[axis])


def _range(ys: Sequence[float], from_zero: bool, most: float | None) -> tuple[float, float]:
    """The values' range; from zero where they are shares, or near it."""
    low, high = min(ys), max(ys)
    if most is not None:
        low, high = max(low, 0.0), min(high, most)
    if low > 0 and (from_zero or low < 0.4 * high):
        low = 0.0
    return low, high


def _window(series: Series) -> int:
    count = len(series.y)
    return 1 if count < SMOOTHED_FROM else max(5, count // 40) | 1


def _points(frame: Frame, xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """Pixels, with the mean of neighbours where there are more points than a screen shows."""
    size = math.ceil(len(xs) / MOST_POINTS)
    pixels = []
    for begin in range(0, len(xs), size):
        part = slice(begin, begin + size)
        x, y = sum(xs[part]) / len(xs[part]), sum(ys[part]) / len(ys[part])
        y = min(max(y, frame.y.low), frame.y.high)
        pixels.append((frame.px(x), frame.py(y)))
    return pixels
