"""Quantiles of a pool, exact under ties and for any number of groups."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

from lspo.errors import SettingError
from lspo.types import PerGroup

QuantileRule = Literal["inverted_cdf", "linear"]


NEEDS_PLAIN = (
    "Expected groups that all count alike with `{setting}='{value}'`, but prompts were drawn with unequal "
    "probabilities, by which groups are weighted. Set `{setting}='{other}'`, or leave out the predictor."
)


def quantile(
    values: PerGroup, share: float, *, rule: QuantileRule = "inverted_cdf", weights: PerGroup | None = None
) -> float:
    """The value below or at which a `share` of the pool lies.

    "inverted_cdf": Q(a) = inf{t : F(t) >= a}, always one of the values; the rank ceil(a * n) is computed on the decimal
    that was written, so that 0.07 of 100 is 7 and not, as in floating point, 8. "linear" interpolates between
    neighbours, as numpy's default does.

    With `weights`, F(t) = sum of the weights of values <= t / sum of all, likewise exact. Equal ones change nothing.

    Raises:
        ValueError: For an empty pool, a share outside 0..1, weights that are not above 0, or unequal ones with
            "linear".

    Example:
        >>> import torch
        >>> quantile(torch.tensor([1.0, 2.0, 3.0, 4.0]), 0.3)
        2.0
        >>> round(quantile(torch.tensor([1.0, 2.0, 3.0, 4.0]), 0.3, rule="linear"), 6)
        1.9
    """
    size = len(values)
    if not size:
        raise SettingError("Expected at least one value to take a quantile of, but got none.")
    if not 0 <= share <= 1:
        raise SettingError(f"Expected a share between 0 and 1, but got {share}.")
    exact = Fraction(repr(float(share)))
    if weights is not None and differ(weights):
        if rule != "inverted_cdf":
            raise SettingError(NEEDS_PLAIN.format(setting="quantile", value=rule, other="inverted_cdf"))
        return _weighted(values.double(), weights.double(), exact)
    ordered = values.double().sort().values
    if rule == "inverted_cdf":
        return float(ordered[max(math.ceil(exact * size) - 1, 0)])
    if rule == "linear":
        place = exact * (size - 1)
        below = math.floor(place)
        above = min(below + 1, size - 1)
        low, high = float(ordered[below]), float(ordered[above])
        return low + (high - low) * float(place - below)
    raise SettingError(f"Expected `quantile` to be 'inverted_cdf' or 'linear', but got {rule!r}.")


def differ(weights: PerGroup) -> bool:
    """Whether some groups count more than others."""
    return bool(len(weights)) and bool((weights != weights[0]).any())


def _weighted(values: PerGroup, weights: PerGroup, share: Fraction) -> float:
    if not bool((weights > 0).all()) or not bool(weights.isfinite().all()):
        raise SettingError(f"Expected weights above 0 and finite, but the least is {float(weights.min())}.")
    ordered, order = values.sort(stable=True)
    heavy = weights[order]
    running = heavy.cumsum(0)
    target = float(share) * float(running[-1])
    # Of float sums: n roundings, each of at most 2^-53 of the total.
    doubt = 4 * len(values) * 2.0**-53 * float(running[-1])
    first = int((running >= target - doubt).nonzero()[0])
    last = int((running >= target + doubt).nonzero()[0]) if bool((running >= target + doubt).any()) else len(values) - 1
    if first < last:
        first = _exact_place(heavy.tolist(), share, first, last)
    return float(ordered[first])


def _exact_place(weights: list[float], share: Fraction, first: int, last: int) -> int:
    """The first place from `first` to `last` at which the weights up to it are at least the share, in fractions."""
    target = share * sum(map(Fraction, weights))
    running = sum(map(Fraction, weights[:first]), Fraction(0))
    for place in range(first, last):
        running += Fraction(weights[place])
        if running >= target:
            return place
    return last
