"""Stacked areas over iterations: what became of prompts, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lspo.report.curves import AXES, AXIS_LABELS, phase_seconds, places
from lspo.report.numbers import scale
from lspo.report.reasons import colour_of, in_order, label_of
from lspo.report.svg import Frame, area, legend, picture, room_for
from lspo.runs import Run

REASONS = ("rollout/of_all/", "rollout/reason/")
"""Columns of shares by reason: their present name, and the one before."""
MOST_COLUMNS = 240
SIZES = {"wide": (1200.0, 350.0), "narrow": (372.0, 280.0)}


@dataclass(frozen=True)
class Layer:
    """One colour of a stack: its name, its class, and a value by iteration."""

    label: str
    kind: str
    values: Mapping[int, float]


def fates(run: Run) -> list[Layer]:
    """Shares of an iteration's groups by what became of them."""
    rows = {row["iteration"]: counted for row in run.iterations if (counted := fate_counts(row))}
    if rows:
        shares = {number: _shares(counts) for number, counts in rows.items()}
    else:
        shares = {}
        for name in run.metric_names:
            if name.startswith(REASONS) and name.endswith("_frac"):
                reason = name.rsplit("/", 1)[1].removesuffix("_frac")
                for number, share in run.series(name).items():
                    shares.setdefault(number, {})[reason] = share
    reasons = in_order(reason for row in shares.values() for reason in row)
    return [
        Layer(label_of(reason), colour_of(reason), {number: row.get(reason, 0.0) for number, row in shares.items()})
        for reason in reasons
    ]


def fate_counts(row: Mapping[str, dict[str, dict[str, list[int]]]]) -> dict[str, float]:
    """Groups of an iteration by reason, with the kept ones parted into those trained on and the surplus."""
    counts: dict[str, float] = {reason: sum(bins) for reason, bins in row.get("lengths", {}).get("counts", {}).items()}
    groups: Mapping[str, object] = row.get("groups", {})
    surplus = groups.get("surplus", 0)
    if "kept" in counts and isinstance(surplus, int):
        kept = counts.pop("kept")
        surplus = min(surplus, kept)
        counts = {"trained": kept - surplus, **({"surplus": surplus} if surplus else {}), **counts}
    return counts


def _shares(counts: Mapping[str, float]) -> dict[str, float]:
    total = sum(counts.values())
    return {reason: count / total for reason, count in counts.items()} if total else {}


def phases(run: Run) -> list[Layer]:
    """Seconds of an iteration by phase."""
    return [Layer(label, f"c{place}", values) for place, (label, values) in enumerate(phase_seconds(run).items())]


def stack_plots(title: str, layers: Sequence[Layer], run: Run, unit: str) -> dict[str, str]:
    """The picture over each axis, for wide screens and for narrow ones; empty without layers."""
    found = {f"{axis}{'' if size == 'wide' else ' narrow'}": _stack_plot(title, layers, run, axis, unit, size)
             for axis in AXES for size in SIZES}  # fmt: skip
    return {name: svg for name, svg in found.items() if svg}


def _stack_plot(title: str, layers: Sequence[Layer], run: Run, axis: str, unit: str, size: str) -> str:
    width, height = SIZES[size]
    where = places(run, axis, evaluation=False)
    numbers = sorted({number for layer in layers for number in layer.values if number in where})
    if not layers or not numbers:
        return ""
    columns = _columns(layers, numbers, where)
    totals = [sum(values) for _, values in columns]
    ranked = sorted(totals)
    # One iteration that waited for something should not flatten all others.
    usual = ranked[int(0.99 * (len(ranked) - 1))]
    top = 1.0 if unit == "share" else min(ranked[-1], 1.5 * usual) or 1.0
    key_row, more = legend([(layer.label, layer.kind) for layer in layers], 4, width)
    x_unit = {"iterations": "number", "tokens": "count", "seconds": "seconds"}[axis]
    x = scale(
        columns[0][0], columns[-1][0], x_unit, count=8 if size == "wide" else 4, grow=False, whole=axis == "iterations"
    )
    y = scale(0.0, top, unit)
    frame = Frame(width, height + more, x, y, AXIS_LABELS[axis], top=50 + more, left=room_for(y))
    body, below = "", [0.0] * len(columns)
    if len(columns) == 1:
        columns = [(x.low, columns[0][1]), (x.high, columns[0][1])]
        below = below * 2
    for place, layer in enumerate(layers):
        above = [low + values[place] for low, (_, values) in zip(below, columns, strict=True)]
        body += area(_pixels(frame, columns, above), _pixels(frame, columns, below), f"layer {layer.kind}")
        below = above
    return picture(width, frame.height, title, frame.axes() + body + key_row, kind=f"ax-{axis} {size}")


def _columns(
    layers: Sequence[Layer], numbers: Sequence[int], where: Mapping[int, float]
) -> list[tuple[float, list[float]]]:
    """Places with each layer's value there; means of neighbours where there are many iterations."""
    size = -(-len(numbers) // MOST_COLUMNS)
    columns = []
    for begin in range(0, len(numbers), size):
        part = numbers[begin : begin + size]
        values = [sum(layer.values.get(number, 0.0) for number in part) / len(part) for layer in layers]
        columns.append((sum(where[number] for number in part) / len(part), values))
    return columns


def _pixels(
    frame: Frame, columns: Sequence[tuple[float, list[float]]], heights: Sequence[float]
) -> list[tuple[float, float]]:
    return [(frame.px(x), frame.py(min(height, frame.y.high))) for (x, _), height in zip(columns, heights, strict=True)]
