"""Every plot of a report, by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lspo.report.curves import AXES, CURVES, Curve, evaluated_names, evaluation_curve, places
from lspo.report.grouping import RunGroup
from lspo.report.lengths import SIZES, has_band, has_lengths, length_map
from lspo.report.lines import Series, line_plot, series_of
from lspo.report.stacks import fates, phases, stack_plots
from lspo.report.svg import standalone
from lspo.runs import Run


@dataclass(frozen=True)
class Plot:
    """One figure of the page.

    Args:
        key: Its name, in links and of its file.
        says: How to read it.
        section: The heading that it is under.
        pictures: Its SVG by axis, or by size of a map.
    """

    key: str
    says: str
    section: str
    pictures: dict[str, str] = field(default_factory=dict)


MAP_SAYS = (
    "A column is an iteration, and a stronger colour is more of its groups. Blue ones were kept: up to the dotted "
    "line, and from the solid line to the dashed one."
)
SIDES = (
    ("accuracy", "Accuracy by side of the band", "share",
     "Right responses in the groups trained on. Short ones are mostly those that the policy finds easy."),
    ("advantage", "Advantage by side of the band", "number",
     "Mean absolute advantage: how strongly a side's responses pull on the weights."),
    ("reward", "Reward by side of the band", "number", "Mean reward of the same responses."),
    ("groups", "Groups by side of the band", "number", "How many of the groups trained on are on each side."),
)  # fmt: skip


def curve_plots(groups: Sequence[RunGroup]) -> list[Plot]:
    """Curves of all groups together, those alone that some run has."""
    names = dict.fromkeys(name for group in groups for run in group.runs for name in evaluated_names(run))
    curves = [*map(evaluation_curve, names), *CURVES]
    return [plot for curve in curves if (plot := _curve_plot(curve, groups)).pictures]


def _curve_plot(curve: Curve, groups: Sequence[RunGroup]) -> Plot:
    pictures = {}
    for axis in AXES:
        found = [(group, place, series_of(group, curve, axis)) for place, group in enumerate(groups)]
        entries = [
            (_legend(group), f"c{place % 8}", series)
            for group, place, series in found
            if series is not None and series.y
        ]
        if entries:
            is_evaluation = curve.section == "Evaluation"
            pictures[axis] = line_plot(curve.title, entries, axis, curve.unit, with_dots=is_evaluation)
    return Plot(curve.key, curve.says, curve.section, pictures)


def _legend(group: RunGroup) -> str:
    return group.label if len(group.runs) == 1 else f"{group.label} ({len(group.runs)} seeds)"


def map_plot(run: Run) -> Plot | None:
    """Lengths of each iteration; None where the run has not recorded them."""
    if not has_lengths(run):
        return None
    kinds = {"judged": True, "all": False} if has_band(run) else {"all": False}
    pictures = {
        f"{size}_{kind}": length_map(run, size, judged=judged) for kind, judged in kinds.items() for size in SIZES
    }
    return Plot("lengths", MAP_SAYS, "Lengths", pictures)


def prompt_plots(run: Run) -> list[Plot]:
    """What became of prompts, and how the two sides of the band differ."""
    says = "Shares of all groups that were generated. Only the blue ones are trained on; all others cost tokens."
    plots = [Plot("prompts", says, "Prompts", stack_plots("What became of prompts", fates(run), run, "share"))]
    for name, title, unit, words in SIDES:
        values = {
            side: {row["iteration"]: float(row["sides"][side][name]) for row in run.iterations
                   if name in row.get("sides", {}).get(side, {})}
            for side in ("short", "long")
        }  # fmt: skip
        plots.append(Plot(f"side_{name}", words, "Sides", _two_lines(run, title, unit, values)))
    lengths = {
        name: {row["iteration"]: float(row[key]) for row in run.iterations if key in row}
        for name, key in (("right", "right_length"), ("wrong", "wrong_length"))
    }
    words = "Mean tokens of right and of wrong responses. Where the wrong ones grow alone, length is not thinking."
    plots.append(
        Plot(
            "right_wrong",
            words,
            "Sides",
            _two_lines(run, "Length of right and wrong responses", "number", lengths, ("c2", "c3")),
        )
    )
    return [plot for plot in plots if plot.pictures]


def _two_lines(
    run: Run, title: str, unit: str, values: dict[str, dict[int, float]], kinds: Sequence[str] = ("c4", "c0")
) -> dict[str, str]:
    pictures = {}
    for axis in AXES:
        where = places(run, axis, evaluation=False)
        entries = []
        for (label, found), kind in zip(values.items(), kinds, strict=True):
            points = [(where[number], value) for number, value in found.items() if number in where]
            if points:
                entries.append((label, kind, Series([x for x, _ in points], [y for _, y in points])))
        if entries:
            pictures[axis] = line_plot(title, entries, axis, unit)
    return pictures


def time_plots(run: Run) -> list[Plot]:
    """Where an iteration's time went."""
    says = "Seconds of each iteration by phase. Phases that run at the same time are counted in each."
    plot = Plot("time", says, "Time", stack_plots("Time of an iteration by phase", phases(run), run, "seconds"))
    return [plot] if plot.pictures else []


def plot_files(groups: Sequence[RunGroup], axis: str = "iterations") -> Iterator[tuple[str, str]]:
    """Every plot as a file of its own: name and text. Those of one run among several have its name in theirs."""
    for plot in curve_plots(groups):
        if axis in plot.pictures:
            yield f"{plot.key}.svg", standalone(plot.pictures[axis])
    runs = [(group.name_of(run), run) for group in groups for run in group.runs]
    for name, run in runs:
        ending = "" if len(runs) == 1 else "_" + "".join(letter if letter.isalnum() else "_" for letter in name)
        own = [*prompt_plots(run), *time_plots(run), *filter(None, [map_plot(run)])]
        for plot in own:
            svg = plot.pictures.get(axis) or plot.pictures.get("wide_judged") or plot.pictures.get("wide_all")
            if svg:
                yield f"{plot.key}{ending}.svg", standalone(svg)
