"""Quantiles of Student's t, for any number of degrees of freedom."""

from __future__ import annotations

import math

TINY, PRECISION, MOST_TERMS = 1e-300, 1e-15, 500


def student_quantile(share: float, freedom: int) -> float:
    """The value below which a share of Student's t lies.

    Args:
        share: Between 0.5 and 1.
        freedom: Degrees of freedom, at least 1.

    Example:
        >>> round(student_quantile(0.975, 4), 4), round(student_quantile(0.975, 30), 4)
        (2.7764, 2.0423)
    """
    assert 0.5 <= share < 1
    low, high = 0.0, 1.0
    while student_share(high, freedom) < share:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if student_share(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def student_share(value: float, freedom: int) -> float:
    """The share of Student's t that lies below a value of at least 0."""
    return 1 - incomplete_beta(freedom / (freedom + value * value), freedom / 2, 0.5) / 2


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), by its continued fraction.

    Reference: Press et al., Numerical Recipes, section 6.4; the fraction by Lentz' method.
    """
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        # Where the fraction of the other side ends sooner.
        return 1 - incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    value, numerator, denominator = 1.0, 1.0, 0.0
    for term in range(MOST_TERMS):
        half = term // 2
        if term == 0:
            step = 1.0
        elif term % 2 == 0:
            step = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        else:
            step = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        denominator = 1 / _away_from_zero(1 + step * denominator)
        numerator = _away_from_zero(1 + step / numerator)
        change = numerator * denominator
        value *= change
        if abs(change - 1) < PRECISION:
            break
    return front * (value - 1)


def _away_from_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
