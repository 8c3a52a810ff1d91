"""The comparison itself: every method at equal budgets, and each against the baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lspo.comparing.curves import AXES, Budget, Curve, common_budget, curve_of
from lspo.comparing.methods import Method
from lspo.comparing.pairs import PairedTest, paired_test
from lspo.comparing.statistics import (
    BOOTSTRAP_RUNS,
    RESAMPLES,
    Interval,
    Scores,
    bootstrap_interval,
    improvement,
    interquartile_mean,
    mean,
    mean_interval,
)
from lspo.runs import Run

QUANTITIES = {"final": "final value", "area": "area under the curve"}
"""What is compared at a budget: the metric there, and its mean height up to there."""


@dataclass(frozen=True)
class Estimate:
    """A quantity of one method over its runs; intervals are None where there are too few runs for them."""

    mean: float
    interval: Interval | None
    iqm: float
    iqm_interval: Interval | None


@dataclass(frozen=True)
class Versus:
    """A method against the baseline, in one quantity.

    Args:
        method: Its name.
        improvement: Chance that one of its runs beats one of the baseline's.
        interval: Of that chance; None below `BOOTSTRAP_RUNS` runs of either.
        test: On the seeds that both have; None where there is none.
    """

    method: str
    improvement: float
    interval: Interval | None
    test: PairedTest | None


@dataclass(frozen=True)
class AtBudget:
    """All methods when each had spent the same.

    Args:
        axis: What the budget is counted in, a key of `AXES`.
        budget: From where to where.
        curves: Of each method, one tuple per metric of one curve per run.
        estimates: By quantity, then by method. The area is missing where start and end of the budget are one.
        versus: By quantity, every method but the baseline.
    """

    axis: str
    budget: Budget
    curves: dict[str, list[list[Curve]]]
    estimates: dict[str, dict[str, Estimate]]
    versus: dict[str, list[Versus]]


@dataclass(frozen=True)
class Comparison:
    """Everything that was found out; `notes` is what a reader must know to read it rightly."""

    methods: list[Method]
    metrics: list[str]
    baseline: str
    parts: list[AtBudget]
    notes: list[str]


def compare(
    methods: Sequence[Method],
    metrics: Sequence[str],
    *,
    axes: Sequence[str],
    baseline: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compares methods at each axis that all runs have.

    Args:
        methods: Each with its runs.
        metrics: What is measured; of several, the mean is compared, and runs are resampled within each.
        axes: Keys of `AXES`.
        baseline: The method that the others are set against.
        resamples: Of the bootstrap.
        seed: Of the bootstrap, and of drawn sign patterns.
    """
    parts, notes = [], []
    for axis in axes:
        missing = _without(methods, metrics, axis)
        if missing:
            notes.append(f"Not compared at equal {AXES[axis]}: {missing} does not have them in its evaluations.")
            continue
        curves = {
            method.name: [[_curve(run, metric, axis) for metric in metrics] for run in method.runs]
            for method in methods
        }
        budget = common_budget([curve for runs in curves.values() for run in runs for curve in run])
        if budget is None:
            notes.append(f"Not compared at equal {AXES[axis]}: a run ends before another one's first evaluation.")
            continue
        parts.append(_at_budget(methods, curves, axis, budget, baseline, resamples, seed))
    return Comparison(list(methods), list(metrics), baseline, parts, [*notes, *_notes(methods, metrics, baseline)])


def _without(methods: Sequence[Method], metrics: Sequence[str], axis: str) -> str:
    """The first run without a curve; empty where all have one."""
    for method in methods:
        for run in method.runs:
            if any(curve_of(run, metric, axis) is None for metric in metrics):
                return str(run.folder)
    return ""


def _curve(run: Run, metric: str, axis: str) -> Curve:
    curve = curve_of(run, metric, axis)
    assert curve is not None
    return curve


def _at_budget(
    methods: Sequence[Method],
    curves: dict[str, list[list[Curve]]],
    axis: str,
    budget: Budget,
    baseline: str,
    resamples: int,
    seed: int,
) -> AtBudget:
    scores = {"final": {name: _table(own, lambda c: c.at(budget.end)) for name, own in curves.items()}}
    if budget.start < budget.end:
        scores["area"] = {
            name: _table(own, lambda c: c.mean_height(budget.start, budget.end)) for name, own in curves.items()
        }
    estimates = {
        quantity: {name: _estimate(table, resamples, seed) for name, table in tables.items()}
        for quantity, tables in scores.items()
    }
    base = next(method for method in methods if method.name == baseline)
    versus = {
        quantity: [_versus(method, base, tables, resamples, seed) for method in methods if method is not base]
        for quantity, tables in scores.items()
    }
    return AtBudget(axis, budget, curves, estimates, versus)


def _table(curves: Sequence[Sequence[Curve]], value: Callable[[Curve], float]) -> Scores:
    return np.array([[value(curve) for curve in run] for run in curves])


def _estimate(scores: Scores, resamples: int, seed: int) -> Estimate:
    enough = len(scores) >= BOOTSTRAP_RUNS
    iqm = bootstrap_interval(interquartile_mean, scores, resamples=resamples, seed=seed) if enough else None
    return Estimate(
        float(mean(scores)),
        mean_interval(scores, resamples=resamples, seed=seed),
        float(interquartile_mean(scores)),
        iqm,
    )


def _versus(method: Method, base: Method, tables: dict[str, Scores], resamples: int, seed: int) -> Versus:
    own, other = tables[method.name], tables[base.name]
    enough = min(len(own), len(other)) >= BOOTSTRAP_RUNS
    interval = bootstrap_interval(improvement, own, other, resamples=resamples, seed=seed) if enough else None
    seeds = [one for one in method.by_seed if one in base.by_seed]
    test = None
    if seeds:
        ours, theirs = ([of.by_seed[one] for one in seeds] for of in (method, base))
        test = paired_test(own[ours].mean(axis=1) - other[theirs].mean(axis=1), seed=seed)
    return Versus(method.name, float(improvement(own, other)), interval, test)


def _notes(methods: Sequence[Method], metrics: Sequence[str], baseline: str) -> list[str]:
    notes = []
    few = [method for method in methods if 1 < len(method.runs) < BOOTSTRAP_RUNS]
    if few:
        counts = ", ".join(f"{method.name} {len(method.runs)}" for method in few)
        notes.append(
            f"Fewer than {BOOTSTRAP_RUNS} runs ({counts}): the interval of the mean is Student's t, and IQM and "
            "P(better) have none. A bootstrap of so few runs is too narrow."
        )
    if any(len(method.runs) >= BOOTSTRAP_RUNS for method in methods):
        notes.append(f"From {BOOTSTRAP_RUNS} runs on: intervals are a stratified bootstrap over runs.")
    notes += [f"{method.name}: one run only, so there is no interval." for method in methods if len(method.runs) == 1]
    notes += [
        f"{method.name}: its runs differ in more than their seeds. Look at their config.yaml."
        for method in methods
        if len({run.method for run in method.runs}) > 1
    ]
    if len(metrics) > 1:
        notes.append("Several metrics: their mean is compared.")
    base = next(method for method in methods if method.name == baseline)
    for method in methods:
        shared = len(method.by_seed.keys() & base.by_seed.keys())
        if method is base:
            continue
        if not shared:
            notes.append(f"{method.name} and {baseline} have no seed in common, so there is no paired test.")
        elif shared < 6:
            notes.append(
                f"{method.name} against {baseline}: {shared} {'pair' if shared == 1 else 'pairs'} of seeds. "
                f"The test on them can't give a p below {2.0 ** (1 - shared):g}."
            )
    return notes
