"""From the lines of all runs to what the plan asks for: measures of each run, contrasts, and their tests."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from length_study.arms import ARMS, LSPO, PRIMARY
from length_study.measures import ENOUGH, curve_of
from lspo.comparing.comparison import Estimate
from lspo.comparing.pairs import PairedTest, holm, paired_test
from lspo.comparing.statistics import BOOTSTRAP_RUNS, bootstrap_interval, interquartile_mean, t_interval
from lspo.student import student_quantile

Line = Mapping[str, Any]
Lines = Mapping[str, Mapping[int, Line]]
"""Of one task: by arm, then by seed."""
POWER, LEVEL = 0.8, 0.05


def read(file: Path) -> dict[str, dict[str, dict[int, Line]]]:
    """By task, arm and seed, arms in the order of the plan."""
    found: dict[str, dict[str, dict[int, Line]]] = {}
    lines = [json.loads(row) for row in file.read_text().splitlines()] if file.exists() else []
    for line in sorted(lines, key=lambda one: list(ARMS).index(one["arm"])):
        found.setdefault(line["task"], {}).setdefault(line["arm"], {})[line["seed"]] = line
    return found


def area(line: Line) -> float:
    """Mean height of the held-out curve up to the budget, in points."""
    return 100 * curve_of(line).mean_height(0.0, float(line["budget"]))


def to_enough(line: Line) -> float:
    """Where the curve first reaches .8, as a share of the budget; 1 if it does not."""
    reached = curve_of(line).reaches(ENOUGH)
    return 1.0 if reached is None else min(reached / line["budget"], 1.0)


def final(line: Line) -> float:
    """Held-out accuracy at the budget, in points."""
    return 100 * curve_of(line).at(float(line["budget"]))


MEASURES: Mapping[str, Callable[[Line], float]] = {"area": area, "tokens to .8": to_enough}
"""Those with a test; accuracy at the budget is descriptive."""


@dataclass(frozen=True)
class Contrast:
    """LSPO minus another arm.

    Args:
        arm: The other one.
        test: On the seeds that both have.
        spread: Standard deviation of the paired differences; NaN of one pair.
        adjusted: Holm's p among the primary contrasts that were run; None of a descriptive one.
    """

    arm: str
    test: PairedTest
    spread: float
    adjusted: float | None

    def detectable(self, level: float = LEVEL) -> float:
        """The least true difference that is found with a probability of 80%; NaN of one pair."""
        freedom = self.test.pairs - 1
        if not freedom:
            return math.nan
        quantiles = student_quantile(1 - level / 2, freedom) + student_quantile(POWER, freedom)
        return quantiles * self.spread / math.sqrt(self.test.pairs)

    @property
    def verdict(self) -> str:
        if self.adjusted is None or self.adjusted >= LEVEL:
            return "not significant"
        return "above 0" if self.test.difference > 0 else "below 0"


def contrasts(lines: Lines, measure: str, arms: Sequence[str]) -> list[Contrast]:
    """LSPO minus each of the arms that were run; primary ones are adjusted among each other."""
    value = MEASURES[measure]
    found = []
    for arm in arms:
        shared = sorted(lines.get(LSPO, {}).keys() & lines.get(arm, {}).keys())
        if arm == LSPO or not shared:
            continue
        differences = np.array([value(lines[LSPO][seed]) - value(lines[arm][seed]) for seed in shared])
        spread = float(differences.std(ddof=1)) if len(shared) > 1 else math.nan
        found.append((arm, paired_test(differences), spread))
    primary = {arm: test.p for arm, test, _ in found if arm in PRIMARY}
    ps = dict(zip(primary, holm(list(primary.values())), strict=True))
    return [Contrast(arm, test, spread, ps.get(arm)) for arm, test, spread in found]


def estimate(values: Sequence[float]) -> Estimate:
    """A measure of an arm over its seeds; the mean has Student's interval, as the plan says."""
    numbers = np.array(values, dtype=np.float64)
    table = numbers[:, None]
    enough = len(values) >= BOOTSTRAP_RUNS
    return Estimate(
        float(numbers.mean()),
        t_interval(numbers),
        float(interquartile_mean(table)),
        bootstrap_interval(interquartile_mean, table) if enough else None,
    )


def mean_of(lines: Mapping[int, Line], value: Callable[[Line], float]) -> float:
    return float(np.mean([value(line) for line in lines.values()]))
