"""Statistics of a few runs: means, intervals, and the chance that one method is better than another.

Scores are tables of shape (runs, metrics): one row per run, one column per metric. Each column is a stratum: a
bootstrap sample draws runs again within each column, as rliable does.

Reference: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, arXiv:2108.13264.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lspo.student import student_quantile

Scores = NDArray[np.float64]
"""(runs, metrics), and any number of dimensions of resamples before them."""
Numbers = NDArray[np.float64]

LEVEL = 0.95
BOOTSTRAP_RUNS = 10
"""Below this many runs a bootstrap interval is too narrow: it can't go beyond the runs that there are."""
RESAMPLES = 10_000
CHUNK = 2_000_000
"""Numbers of a table of resamples that are in memory at a time."""


@dataclass(frozen=True)
class Interval:
    """The bounds of a 95% interval; `how` is its rule: "t" or "bootstrap"."""

    low: float
    high: float
    how: str


def mean(scores: Scores) -> Any:
    """Mean over runs and metrics.

    Example:
        >>> float(mean(np.array([[1.0], [2.0], [6.0]])))
        3.0
    """
    return scores.mean(axis=(-2, -1))


def interquartile_mean(scores: Scores) -> Any:
    """Mean of the middle half of all scores: a quarter, rounded down, is cut off at each end.

    Example:
        >>> float(interquartile_mean(np.array([[0.0], [1.0], [3.0], [100.0]])))
        2.0
    """
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)


def improvement(first: Scores, second: Scores) -> Any:
    """Chance that a run of the first method beats a run of the second, mean over metrics; a tie counts one half.

    Example:
        >>> float(improvement(np.array([[2.0], [3.0]]), np.array([[1.0], [2.0]])))
        0.875
    """
    ours, others = first[..., :, None, :], second[..., None, :, :]
    return ((ours > others) + 0.5 * (ours == others)).mean(axis=(-3, -2, -1))


def t_interval(values: Numbers) -> Interval | None:
    """Student's interval of the mean of independent values; None for fewer than two.

    Example:
        >>> interval = t_interval(np.array([1.0, 2.0, 3.0]))
        >>> round(interval.low, 3), round(interval.high, 3)
        (-0.484, 4.484)
    """
    count = len(values)
    if count < 2:
        return None
    middle, spread = float(values.mean()), float(values.std(ddof=1))
    half = student_quantile((1 + LEVEL) / 2, count - 1) * spread / math.sqrt(count)
    return Interval(middle - half, middle + half, "t")


def bootstrap_interval(
    statistic: Callable[..., Any], *tables: Scores, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Stratified bootstrap: the middle 95% of a statistic over resampled runs.

    Args:
        statistic: Of tables with leading dimensions, as `mean`, `interquartile_mean` and `improvement`.
        *tables: Scores, one table per method; methods are resampled independently.
        resamples: How many.
        seed: Of the resampling.
    """
    generator = np.random.default_rng(seed)
    at_once = max(1, CHUNK // math.prod(table.size for table in tables))
    found = []
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        found.append(statistic(*(_resampled(table, size, generator) for table in tables)))
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(found), [outside, 1 - outside])
    return Interval(float(low), float(high), "bootstrap")


def _resampled(table: Scores, count: int, generator: np.random.Generator) -> Scores:
    places = generator.integers(0, table.shape[0], size=(count, *table.shape))
    return np.take_along_axis(table[None], places, axis=1)


def mean_interval(scores: Scores, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval | None:
    """Of the mean: Student's below `BOOTSTRAP_RUNS` runs, else a bootstrap; None for one run."""
    if len(scores) < BOOTSTRAP_RUNS:
        return t_interval(scores.mean(axis=1))
    return bootstrap_interval(mean, scores, resamples=resamples, seed=seed)
