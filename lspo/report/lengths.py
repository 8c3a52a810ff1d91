"""Lengths of every iteration's groups as a map, with the band's bounds as lines over it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from lspo.report.numbers import scale
from lspo.report.reasons import colour_of, in_order, label_of
from lspo.report.svg import Frame, legend, line, n, picture, room_for
from lspo.runs import Run

SIZES = {"wide": (700.0, 380.0, 175), "narrow": (372.0, 320.0, 90)}
"""Of the map: width, height, and at most how many columns."""
BINS = 32
LEVELS = 8
TRAINED = frozenset({"kept", "carried"})
NOT_JUDGED = frozenset({"all_right", "all_wrong", "accuracy_low", "accuracy_high"})
"""Groups that the filter of correctness has dropped before the band saw them."""
BOUNDS = (
    ("length_low", "short up to", "b-low"),
    ("length_high", "long from", "b-high"),
    ("length_max", "too long above", "b-max"),
)


def has_lengths(run: Run) -> bool:
    return any(_counts(row) for row in run.iterations)


def has_band(run: Run) -> bool:
    """Whether a rule of lengths has judged the groups."""
    return any(name.startswith("length_") for row in run.iterations for name in row.get("thresholds", {}))


def length_map(run: Run, size: str, *, judged: bool) -> str:
    """The map: a column is an iteration, a row is a length; blue cells are of kept groups, grey ones of dropped.

    Args:
        run: One that `has_lengths`.
        size: One of `SIZES`.
        judged: Only the groups that the band has judged; otherwise all.
    """
    width, height, most = SIZES[size]
    rows = [row for row in run.iterations if _counts(row)]
    first, last = rows[0]["iteration"], rows[-1]["iteration"]
    bounds = [(kind, label) for name, label, kind in BOUNDS if any(name in row.get("thresholds", {}) for row in rows)]
    keys, more = legend(
        [
            ("kept groups", "k-kept"),
            ("dropped by the band" if judged else "dropped groups", "k-dropped"),
            *((label, kind) for kind, label in bounds),
        ],
        4,
        width,
    )
    span = last - first + 1
    x = scale(first, last, "number", count=8 if size == "wide" else 4, grow=False, whole=True)
    # Each iteration is a column as wide as the way to the next.
    x = type(x)(first - 0.5, last + 0.5, tuple(tick for tick in x.ticks if first <= tick[0] <= last))
    y = length_scale(run)
    frame = Frame(width, height, x, y, "iteration", top=50 + more, left=room_for(y))
    step = math.ceil(span / most)
    columns = [rows[begin : begin + step] for begin in range(0, len(rows), step)]
    body = _cells(frame, columns, step, NOT_JUDGED if judged else frozenset())
    for name, _, kind in BOUNDS:
        body += _bound(frame, columns, step, name, kind)
    cursor = f'<path class="cursor" d="M0 {n(frame.top)}V{n(height - frame.bottom)}"/>'
    title = "Lengths of each iteration's groups, in tokens"
    return picture(
        width,
        height,
        title,
        frame.axes() + body + cursor + keys,
        kind=f"map {size} {'judged' if judged else 'all'}",
        data=frame.data(),
    )


def length_scale(run: Run) -> Any:
    """The axis of lengths, up to where nearly all groups end; the few beyond are in the last row."""
    mass: list[tuple[float, float]] = []
    caps: list[float] = []
    for row in run.iterations:
        mass += [(high, count) for _, high, _, count in _bins(row)]
        caps += [value for name, value in row.get("thresholds", {}).items() if name == "length_max"]
    mass.sort()
    total, seen, top = sum(count for _, count in mass), 0.0, 1.0
    for edge, count in mass:
        seen, top = seen + count, edge
        if seen >= 0.985 * total:
            break
    caps.sort()
    top = max(top, 1.05 * caps[int(0.95 * (len(caps) - 1))] if caps else 0.0)
    least = min((row["lengths"]["low"] for row in run.iterations if _counts(row)), default=0.0)
    return scale(0.0 if least < 0.15 * top else least, top, "number", count=6, whole=True)


def histogram_data(run: Run) -> list[dict[str, Any]]:
    """What the page draws the slider's iteration from."""
    found = []
    for row in run.iterations:
        if not _counts(row):
            continue
        lengths = row["lengths"]
        bounds = [row.get("thresholds", {}).get(name) for name, _, _ in BOUNDS]
        sides = {
            side: [
                round(values[name], 3) if name in values else None
                for name in ("groups", "accuracy", "length", "advantage")
            ]
            for side, values in row.get("sides", {}).items()
        }
        found.append({
            "i": row["iteration"], "low": lengths["low"], "high": lengths["high"], "counts": lengths["counts"],
            "bounds": bounds, "groups": row.get("groups", {}), "rounds": row.get("rounds"), "sides": sides,
        })  # fmt: skip
    return found


def reasons_of(run: Run) -> list[tuple[str, str, str]]:
    """The reasons that a run has, in the order of the stack: name, label, colour."""
    reasons = in_order(reason for row in run.iterations for reason in _counts(row))
    return [(reason, label_of(reason), colour_of(reason)) for reason in reasons]


def _counts(row: Mapping[str, Any]) -> dict[str, list[int]]:
    lengths = row.get("lengths") or {}
    return lengths.get("counts") or {} if "low" in lengths and "high" in lengths else {}


def _bins(row: Mapping[str, Any]) -> Iterable[tuple[float, float, str, int]]:
    """Every bin of an iteration that holds groups: its edges, the reason, and how many."""
    for reason, counts in _counts(row).items():
        low, high = row["lengths"]["low"], row["lengths"]["high"]
        width = (high - low) / len(counts) if counts else 0.0
        for place, count in enumerate(counts):
            if count:
                yield low + place * width, low + (place + 1) * width, reason, count


def _cells(frame: Frame, columns: Sequence[Sequence[Mapping[str, Any]]], step: int, left_out: frozenset[str]) -> str:
    """Rectangles in a few levels of opacity, one path per level; dropped groups under the kept ones."""
    grids = [_grid(column, frame.y.low, frame.y.high, left_out) for column in columns]
    shares = sorted(share for grid in grids for kind in grid for share in kind if share)
    if not shares:
        return ""
    top = shares[int(0.985 * (len(shares) - 1))]
    paths: dict[tuple[str, int], list[str]] = {}
    height = (frame.height - frame.top - frame.bottom) / BINS
    for column, grid in zip(columns, grids, strict=True):
        begin, end = frame.px(column[0]["iteration"] - 0.5), frame.px(column[0]["iteration"] - 0.5 + step)
        end = min(end, frame.width - frame.right)
        for kind, values in zip(("dropped", "kept"), grid, strict=True):
            for place, share in enumerate(values):
                level = min(round(LEVELS * math.sqrt(share / top)), LEVELS)
                if level:
                    y = frame.height - frame.bottom - (place + 1) * height
                    # A hair wider than the cell, so that no seam shows between two.
                    paths.setdefault((kind, level), []).append(
                        f"M{n(begin)} {n(y)}h{n(end - begin + 0.2)}v{n(height + 0.2)}h{n(begin - end - 0.2)}z"
                    )
    return "".join(
        f'<path class="cell {kind} l{level}" d="{"".join(parts)}"/>' for (kind, level), parts in sorted(paths.items())
    )


def _grid(
    column: Sequence[Mapping[str, Any]], low: float, high: float, left_out: frozenset[str]
) -> tuple[list[float], list[float]]:
    """Shares of a column's groups by row of the map, of dropped and of kept ones.

    A bin's groups are spread evenly over the rows that it reaches into.
    """
    dropped, kept = [0.0] * BINS, [0.0] * BINS
    size = (high - low) / BINS
    total = 0
    for row in column:
        for begin, end, reason, count in _bins(row):
            if reason in left_out:
                continue
            total += count
            target = kept if reason in TRAINED else dropped
            for place, share in spread_over(begin, end, low, size):
                target[place] += count * share
    return [value / max(total, 1) for value in dropped], [value / max(total, 1) for value in kept]


def spread_over(begin: float, end: float, low: float, size: float) -> list[tuple[int, float]]:
    """The rows that a bin reaches into, each with its share of the bin; what is beyond the map is in its outer rows.

    Example:
        >>> spread_over(3.0, 7.0, low=0.0, size=4.0)
        [(0, 0.25), (1, 0.75)]
    """
    edges = [(begin - low) / size, (end - low) / size]
    first, last = (min(max(edge, 0), BINS - 1) for edge in (math.floor(edges[0]), math.ceil(edges[1]) - 1))
    if last <= first or end <= begin:
        return [(first, 1.0)]
    bounds = [edges[0], *range(first + 1, last + 1), edges[1]]
    reach = edges[1] - edges[0]
    return [(first + place, (upper - lower) / reach) for place, (lower, upper) in enumerate(pairwise(bounds))]


def _bound(frame: Frame, columns: Sequence[Sequence[Mapping[str, Any]]], step: int, name: str, kind: str) -> str:
    """A bound over iterations, as steps: it holds for the whole of a column."""
    parts: list[list[tuple[float, float]]] = []
    points: list[tuple[float, float]] = []
    for column in columns:
        values = [row["thresholds"][name] for row in column if name in row.get("thresholds", {})]
        if not values:
            parts.append(points)
            points = []
            continue
        y = frame.py(min(max(sum(values) / len(values), frame.y.low), frame.y.high))
        begin = column[0]["iteration"] - 0.5
        points += [(frame.px(begin), y), (min(frame.px(begin + step), frame.width - frame.right), y)]
    parts.append(points)
    return "".join(line(part, f"{under} {kind}") for under in ("halo", "bound") for part in parts if part)
