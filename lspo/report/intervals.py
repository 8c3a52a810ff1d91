"""95% intervals of a mean, and of a share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from lspo.student import student_quantile

UPPER = 0.975
NORMAL = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its 95% interval; `how` says by which rule."""

    mean: float
    low: float
    high: float
    how: str


def of_mean(values: Sequence[float], what: str) -> Interval | None:
    """Student's t over independent values, as those of problems or seeds; None for fewer than two."""
    if len(values) < 2:
        return None
    mean = fmean(values)
    half = student_quantile(UPPER, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, f"t interval over {len(values):,} {what}")


def of_share(share: float, count: int, what: str) -> Interval:
    """Wilson's interval of a share of `count` independent trials.

    Example:
        >>> interval = of_share(0.5, 100, "problems")
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.404, 0.596)
    """
    z = NORMAL**2 / count
    middle = (share + z / 2) / (1 + z)
    half = NORMAL / (1 + z) * math.sqrt(share * (1 - share) / count + z / (4 * count))
    return Interval(share, middle - half, middle + half, f"binomial (Wilson) interval, {count:,} {what}")
