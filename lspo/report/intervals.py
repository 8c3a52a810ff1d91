"""95% intervals of a mean, and of a share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

LEVEL = 0.975
NORMAL = 1.959963984540054
EXACT = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 6: 2.4469, 7: 2.3646, 8: 2.3060, 9: 2.2622}


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its 95% interval; `how` says by which rule."""

    mean: float
    low: float
    high: float
    how: str


def student(freedom: int) -> float:
    """The 97.5% quantile of Student's t; beyond 9 degrees of freedom by the series around the normal's.

    Example:
        >>> round(student(4), 3), round(student(30), 3), round(student(255), 3)
        (2.776, 2.042, 1.969)
    """
    if freedom in EXACT:
        return EXACT[freedom]
    z = NORMAL
    # Abramowitz and Stegun, 26.7.5.
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))


def of_mean(values: Sequence[float], what: str) -> Interval | None:
    """Student's t over independent values, as those of problems or seeds; None for fewer than two."""
    if len(values) < 2:
        return None
    mean = fmean(values)
    half = student(len(values) - 1) * stdev(values) / math.sqrt(len(values))
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
