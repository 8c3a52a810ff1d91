"""Writes docs/study_results.md and its plots from the lines of the runs, and from nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from length_study.analysis import (
    MEASURES,
    Contrast,
    Line,
    Lines,
    area,
    contrasts,
    estimate,
    final,
    mean_of,
    read,
    to_enough,
)
from length_study.arms import LSPO, MIDDLE_BACK, PERMUTED, PRIMARY, TASKS, arms_of
from length_study.measures import curve_of
from length_study.plan import BUDGETS, SEEDS
from lspo.comparing.comparison import AtBudget, Comparison
from lspo.comparing.curves import Budget
from lspo.comparing.methods import Method
from lspo.comparing.plot import plot
from lspo.comparing.statistics import Interval
from lspo.comparing.tables import Table, bounds, markdown, number, p_words

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PLOT = "study_results.md", "study_{}.svg"
PLACES = {"area": 1, "tokens to .8": 3}
UNITS = {"area": "points; more is better", "tokens to .8": "share of the budget; less is better"}


def write_page(results: Path, docs: Path = DOCS) -> None:
    """The page and one plot per task that was run."""
    runs = read(results / "runs.jsonl")
    gradients = [json.loads(row) for row in _rows(results / "gradients.jsonl")]
    (docs / PAGE).write_text(page(runs, gradients), encoding="utf-8")
    for task, lines in runs.items():
        (docs / PLOT.format(task)).write_text(curves(task, lines), encoding="utf-8")


def _rows(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def page(runs: Mapping[str, Lines], gradients: Sequence[Mapping[str, Any]] = ()) -> str:
    """The text of the page."""
    parts = [
        "# What the study found",
        "Made by `python benchmarks/study.py --page` from `benchmarks/length_study/results`. The [plan](study.md) was "
        "written before: it says what the arms are, how they are judged, and what would count for and against.",
        *map(shown, filter(None, [overview(runs)])),
        "\n".join(f"- {line}" for line in verdicts(runs)),
        "## What was run\n\n" + shown(done(runs)),
    ]
    early = [
        line for lines in runs.values() for arm in lines.values() for line in arm.values() if "ended_early" in line
    ]
    if early:
        parts.append(
            "Runs that ended before their budget; their curves go on level from the last evaluation:\n\n"
            + "\n".join(
                f"- *{line['task']}*, {line['arm']}, seed {line['seed']}, after {line['curve'][-1][0]:,} tokens: "
                f"{line['ended_early']}"
                for line in early
            )
        )
    for task, lines in runs.items():
        parts += section(task, lines, [row for row in gradients if row["task"] == task])
    missing = [task for task in TASKS if task not in runs]
    if missing:
        parts.append(f"## Not run yet\n\nThe task {' and the task '.join(f'*{task}*' for task in missing)}.")
    return "\n\n".join(parts) + "\n"


def overview(runs: Mapping[str, Lines]) -> Table | None:
    """One row per task, one column per primary contrast."""
    rows = []
    for task, lines in runs.items():
        found = {one.arm: one for one in contrasts(lines, "area", PRIMARY)}
        if found:
            rows.append([f"*{task}*", *(_cell(found.get(arm)) for arm in PRIMARY[1:])])
    title = "LSPO minus each primary comparison: area under the held-out curve, in points"
    return Table(title, ["task", *(f"minus {arm}" for arm in PRIMARY[1:])], rows) if rows else None


NEAR = 2.0
"""Points of area within which the plan calls a difference near 0."""


def verdicts(runs: Mapping[str, Lines]) -> list[str]:
    """What the plan said would count for and against the method, and what was found of it."""
    found = {(task, one.arm): one for task, lines in runs.items() for one in contrasts(lines, "area", PRIMARY)}
    said = []
    informative, uninformative = found.get(("informative", PERMUTED)), found.get(("uninformative", PERMUTED))
    if informative:
        said.append(
            f"What lengths say, where they say something: LSPO minus permuted lengths on *informative* is "
            f"{_difference(informative)}, {informative.verdict}. The plan counts "
            f"{'this for' if informative.verdict == 'above 0' else 'anything but above 0 against'} the method."
        )
    if uninformative:
        interval = uninformative.test.interval
        near = interval is not None and -NEAR <= interval.low <= interval.high <= NEAR
        said.append(
            f"Where they say nothing: on *uninformative* it is {_difference(uninformative)}, {uninformative.verdict}. "
            f"The interval {'lies' if near else 'does not lie'} within {NEAR:g} points of 0, which the plan asks for."
        )
    for arm, what in (("DAPO", "the whole filter with its rollouts"), (MIDDLE_BACK, "the gap with its rollouts")):
        each = [f"{_difference(found[task, arm])} on *{task}*" for task in runs if (task, arm) in found]
        if each:
            said.append(f"Whether it pays for its cost: LSPO minus {arm} ({what}) is {' and '.join(each)}.")
    return said


def _difference(one: Contrast, places: int = 1) -> str:
    return number(one.test.difference, sign=True, places=places) + bounds(one.test.interval, sign=True, places=places)


def _cell(one: Contrast | None) -> str:
    if one is None:
        return "not run"
    words = f"{number(one.test.difference, sign=True, places=1)}, {one.verdict}"
    return f"**{words}**" if "not" not in one.verdict else words


def done(runs: Mapping[str, Lines]) -> Table:
    """How many seeds of each arm there are."""
    arms = list(dict.fromkeys(chain.from_iterable(arms_of(task) for task in TASKS)))
    rows = []
    for arm in arms:
        counts = []
        for task in TASKS:
            count = len(runs.get(task, {}).get(arm, {}))
            counts.append("-" if arm not in arms_of(task) else f"{count} of {len(SEEDS)}" if count else "not run yet")
        rows.append([f"**{arm}**" if arm in PRIMARY else arm, *counts])
    return Table("Seeds of each arm", ["arm", *(f"*{task}*" for task in TASKS)], rows)


def section(task: str, lines: Lines, gradients: Sequence[Mapping[str, Any]]) -> list[str]:
    """All that was found on a task."""
    parts = [f"## The task *{task}*", f"Budget: {BUDGETS[task]:,} generated tokens."]
    if any(arm in lines for arm in PRIMARY):
        parts.append(
            f"![Held-out accuracy over generated tokens, means of the seeds with 95% intervals]({PLOT.format(task)})"
        )
    for measure in MEASURES:
        found = contrasts(lines, measure, PRIMARY)
        if found:
            parts.append(shown(primary_table(measure, found)))
    parts += [shown(all_arms(lines)), shown(costs(lines)), "### Why"]
    parts += [shown(kinds_table(lines)), shown(lengths_table(lines))]
    if gradients:
        parts.append(shown(gradients_table(gradients)))
    parts += ["### Each seed", shown(seeds_table(lines))]
    return parts


def primary_table(measure: str, found: Sequence[Contrast]) -> Table:
    places = PLACES[measure]
    rows = [
        [
            one.arm,
            str(one.test.pairs),
            _difference(one, places),
            _known(one.spread, places),
            p_words(one.test.p),
            "-" if one.adjusted is None else p_words(one.adjusted),
            one.verdict,
            f"{_known(one.detectable(), places)} ({_known(one.detectable(0.01), places)})",
        ]
        for one in found
    ]
    heads = [
        "LSPO minus", "seeds", "difference, 95% interval", "SD of a pair", "p", "p, Holm", "so it is",
        "detectable (strictest step)",
    ]  # fmt: skip
    return Table(f"Primary contrasts, {measure} ({UNITS[measure]})", heads, rows)


def _known(value: float, places: int) -> str:
    return "-" if math.isnan(value) else number(value, places=places)


def all_arms(lines: Lines) -> Table:
    """Every arm in every measure."""
    against = {one.arm: one for one in contrasts(lines, "area", list(lines))}
    rows = []
    for arm, runs in lines.items():
        row = [f"**{arm}**" if arm in PRIMARY else arm, str(len(runs))]
        mean = estimate([area(line) for line in runs.values()])
        row.append(number(mean.mean, places=1) + _bounds(mean.interval))
        row.append(number(mean.iqm, places=1) + _bounds(mean.iqm_interval))
        row.append(_difference(against[arm]) if arm in against else "-")
        reached = sum(to_enough(line) < 1 for line in runs.values())
        row.append(f"{mean_of(runs, to_enough):.3f} ({reached} of {len(runs)})")
        row.append(number(mean_of(runs, final), places=1))
        rows.append(row)
    heads = [
        "arm", "seeds", "area, 95% interval", "interquartile mean", "LSPO minus it", "tokens to .8 (reached by)",
        "accuracy at the budget",
    ]  # fmt: skip
    return Table("All arms. What is not primary is descriptive", heads, rows)


def _bounds(interval: Interval | None) -> str:
    return bounds(interval, places=1)


def costs(lines: Lines) -> Table:
    """What each arm took to spend its budget."""
    columns = {
        "iterations": lambda line: line["iterations"],
        "prompts": lambda line: line["curve"][-1][1],
        "responses per trained group": lambda line: line["responses"] / line["groups"],
        "tokens": lambda line: line["curve"][-1][0],
        "processor seconds": lambda line: line["curve"][-1][2],
    }
    rows = [
        [arm, *(f"{mean_of(runs, value):,.{1 if 'per' in name else 0}f}" for name, value in columns.items())]
        for arm, runs in lines.items()
    ]
    return Table(
        "Cost of a run, means over seeds (evaluations and the supervised start apart)", ["arm", *columns], rows
    )


def kinds_table(lines: Lines) -> Table:
    """Which kinds of prompts each arm trained on, and what became of each kind."""
    kinds = list(next(iter(next(iter(lines.values())).values()))["by_kind"])
    rows = []
    for arm, runs in lines.items():
        shares = [_mean([_share(line, kind) for line in runs.values()]) for kind in kinds]
        ends = [_mean([line["by_kind"][kind][-1] for line in runs.values()]) for kind in kinds]
        row = [arm, " / ".join(f"{share:.0%}" for share in shares), " / ".join(f"{end:.2f}" for end in ends)]
        if "claim" in kinds:
            row.append(f"{_mean([line['shortcuts']['claim'][-1] for line in runs.values()]):.2f}")
        rows.append(row)
    heads = ["arm", f"trained on: {' / '.join(kinds)}", f"held-out accuracy at the end: {' / '.join(kinds)}"]
    return Table(
        "Kinds of prompts, means over seeds",
        [*heads, *(["shortcuts on claims at the end"] if "claim" in kinds else [])],
        rows,
    )


def _share(line: Line, kind: str) -> float:
    return line["kinds"].get(kind, [0, 0, 0])[2] / sum(counts[2] for counts in line["kinds"].values())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def lengths_table(lines: Lines) -> Table:
    """What lengths say, and the two sides of the band."""
    rows = []
    for arm, runs in lines.items():
        needs = [line["need"] for line in runs.values() if line["need"]]
        row = (
            [arm, *(f"{_mean([one[name] for one in needs]):+.2f}" for name in ("length", "length_accuracy"))]
            if needs
            else [arm, "-", "-"]
        )
        row += [f"{_mean([one[name] for one in needs]):.2f}" if needs else "-" for name in ("r2_thirds", "r2_kind")]
        for name in ("short", "long"):
            sides = [line["sides"][name] for line in runs.values() if name in line["sides"]]
            row.append(
                f"{_mean([side['accuracy'] for side in sides]):.2f}, {_mean([side['advantage'] for side in sides]):.2f}"
                if sides else "-"
            )  # fmt: skip
        rows.append(row)
    heads = [
        "arm", "length and need, after accuracy", "length and accuracy", "of need, the band's parts explain",
        "the kind explains", "short side: accuracy, advantage", "long side: accuracy, advantage",
    ]  # fmt: skip
    return Table("What lengths say, in the first third of the tokens; sides of the band, over the run", heads, rows)


def gradients_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Norms and cosines of the bands' gradients."""
    names = list(rows[0]["means"])
    found = [[f"{row['arm']}, seed {row['seed']}", *(f"{row['means'][name]:.2f}" for name in names)] for row in rows]
    return Table("Gradients of the parts of the band, means over a run's iterations", ["run", *names], found)


def seeds_table(lines: Lines) -> Table:
    """Area of each run of the primary arms, and the share of shortcuts that the start took."""
    arms = [arm for arm in PRIMARY if arm in lines]
    seeds = sorted(set().union(*(lines[arm] for arm in arms))) if arms else []
    rows = []
    for seed in seeds:
        there = [lines[arm][seed] for arm in arms if seed in lines[arm]]
        first = there[0]
        start = f"{first['curve'][0][3]:.3f}"
        if "claim" in first["shortcuts"]:
            start += f", {first['shortcuts']['claim'][0]:.2f}"
        cells = [number(area(lines[arm][seed]), places=1) if seed in lines[arm] else "-" for arm in arms]
        rows.append([str(seed), start, *cells])
    return Table(
        "Area of each run; accuracy at the start, and the start's shortcuts on claims", ["seed", "start", *arms], rows
    )


def shown(table: Table) -> str:
    return markdown([table], []).rstrip("\n")


def curves(task: str, lines: Lines) -> str:
    """The plot of the primary arms, as SVG."""
    arms = [arm for arm in PRIMARY if arm in lines] or list(lines)
    part = AtBudget(
        "tokens",
        Budget(0.0, float(BUDGETS[task])),
        {arm: [[curve_of(line)] for line in lines[arm].values()] for arm in arms},
        {},
        {},
    )
    return plot(Comparison([Method(arm, ()) for arm in arms], [f"held-out accuracy, {task}"], LSPO, [part], []))
