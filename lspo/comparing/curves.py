"""Evaluations of a run as a curve over what the run has spent, and budgets that several curves share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lspo.runs import Run

AXES = {
    "steps": "optimizer steps",
    "tokens": "generated tokens",
    "cpu_seconds": "processor seconds",
    "seconds": "seconds",
    "rollouts": "responses",
}
"""What a budget may be counted in: the totals of `iterations.jsonl`, and their words."""
DEFAULT_AXES = ("steps", "tokens", "cpu_seconds")


@dataclass(frozen=True)
class Curve:
    """A metric at the places where it was evaluated, a straight line in between.

    Args:
        spent: What had been spent by each evaluation, rising.
        values: The metric there.
    """

    spent: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def first(self) -> float:
        return self.spent[0]

    @property
    def last(self) -> float:
        return self.spent[-1]

    def at(self, budget: float) -> float:
        """The metric when so much had been spent.

        Example:
            >>> Curve((0.0, 100.0), (0.5, 0.7)).at(50)
            0.6
        """
        return float(np.interp(budget, self.spent, self.values))

    def reaches(self, value: float) -> float | None:
        """What had been spent when the metric first was that high, a straight line between evaluations; None if never.

        Example:
            >>> Curve((0.0, 100.0, 200.0), (0.5, 0.75, 1.0)).reaches(0.875)
            150.0
        """
        for place, found in enumerate(self.values):
            if found >= value:
                if place == 0:
                    return self.first
                before, low = self.spent[place - 1], self.values[place - 1]
                return before + (self.spent[place] - before) * (value - low) / (found - low)
        return None

    def mean_height(self, start: float, budget: float) -> float:
        """The area under the curve between two places, divided by its width: in units of the metric.

        Example:
            >>> Curve((0.0, 100.0, 200.0), (0.0, 1.0, 1.0)).mean_height(0, 200)
            0.75
        """
        inside = [x for x in self.spent if start < x < budget]
        places = np.array([start, *inside, budget])
        heights = np.interp(places, self.spent, self.values)
        area = ((heights[1:] + heights[:-1]) / 2 * np.diff(places)).sum()
        return float(area / (budget - start))


@dataclass(frozen=True)
class Budget:
    """What every curve has spent at least, and from where on every curve is known."""

    start: float
    end: float


def curve_of(run: Run, metric: str, axis: str) -> Curve | None:
    """The curve of a run; None where no evaluation has both the metric and the total.

    Of evaluations with the same total the last one counts.
    """
    points: dict[float, float] = {}
    for row in run.evaluations:
        if axis in row and metric in row["evaluation"]:
            points[float(row[axis])] = float(row["evaluation"][metric])
    if not points:
        return None
    places = sorted(points)
    return Curve(tuple(places), tuple(points[place] for place in places))


def common_budget(curves: Sequence[Curve]) -> Budget | None:
    """The most that every run has spent; None where some curve begins only behind it."""
    start, end = max(curve.first for curve in curves), min(curve.last for curve in curves)
    return Budget(start, end) if start <= end else None


def metrics_of(runs: Iterable[Run]) -> list[list[str]]:
    """The names of the evaluation metrics of each run, in the order in which they were written."""
    return [list(dict.fromkeys(name for row in run.evaluations for name in row["evaluation"])) for run in runs]
