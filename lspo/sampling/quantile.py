"""Quantiles of a pool, exact under ties and for any number of groups."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

from lspo.errors import SettingError
from lspo.types import PerGroup

QuantileRule = Literal["inverted_cdf", "linear"]


def quantile(values: PerGroup, share: float, *, rule: QuantileRule = "inverted_cdf") -> float:
    """The value below or at which a `share` of the pool lies.

    "inverted_cdf": Q(a) = inf{t : F(t) >= a}, always one of the values; the rank ceil(a * n) is computed on the decimal
    that was written, so that 0.07 of 100 is 7 and not, as in floating point, 8. "linear" interpolates between
    neighbours, as numpy's default does.

    Raises:
        ValueError: For an empty pool, or a share outside 0..1.

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
    ordered = values.double().sort().values
    exact = Fraction(repr(float(share)))
    if rule == "inverted_cdf":
        return float(ordered[max(math.ceil(exact * size) - 1, 0)])
    if rule == "linear":
        place = exact * (size - 1)
        below = math.floor(place)
        above = min(below + 1, size - 1)
        low, high = float(ordered[below]), float(ordered[above])
        return low + (high - low) * float(place - below)
    raise SettingError(f"Expected `quantile` to be 'inverted_cdf' or 'linear', but got {rule!r}.")
