"""The rule of every band relative to a pool: bounds, which groups lie within, why not, and how far away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

import torch

from lspo.errors import SettingError
from lspo.sampling.base import KEPT, Decision
from lspo.sampling.quantile import NEEDS_PLAIN, QuantileRule, differ, quantile
from lspo.types import GroupMask, PerGroup

BandEnds = Literal["both", "low", "high", "middle"]
Thresholds = Literal["percentile", "value"]


@dataclass(frozen=True)
class BandNames:
    """What a band calls its regions and bounds; the thresholds are `<quantity>_low`, `_high` and `_max`."""

    quantity: str
    low: str
    middle: str
    high: str
    above_max: str
    unknown: str


@dataclass(frozen=True)
class BandRule:
    """Keeps x of a pool where x <= Q(low), or Q(high) <= x <= Q(max). Both sides inclusive; NaN is never kept.

    Args:
        low: Share of the pool that counts as low.
        high: Share of the pool below the high ones.
        max: Share of the pool above which a group is too high; None or 1: none.
        quantile: "inverted_cdf" or "linear"; see `quantile`.
        thresholds: "percentile": bounds are quantiles of the pool; "value": the same shares of the way from the pool's
            least value to its greatest.
        keep: "both" ends, the "low" or the "high" one alone, or the "middle" between the two bounds.

    Raises:
        ValueError: If the shares are out of range or order, or a name is unknown.
    """

    low: float
    high: float
    max: float | None
    quantile: QuantileRule
    thresholds: Thresholds
    keep: BandEnds

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= self.cap <= 1:
            raise SettingError(
                "Expected 0 <= low <= high <= max <= 1 as shares of the pool, "
                f"but got low={self.low}, high={self.high}, max={self.max}."
            )
        check_names(self, quantile=QuantileRule, thresholds=Thresholds, keep=BandEnds)

    @property
    def cap(self) -> float:
        return 1.0 if self.max is None else self.max

    def bounds(self, values: PerGroup, weights: PerGroup | None = None) -> tuple[float, float, float]:
        """The three thresholds for a pool of values, none of them NaN: of the low, of the high, and the cap."""
        if weights is not None and differ(weights):
            self.check_weights()
        shares = (self.low, self.high, self.cap)
        if self.thresholds == "value":
            least, greatest = _exact(float(values.min())), _exact(float(values.max()))
            # In fractions: 0 + 0.29 * (100 - 0) is 28.999999999999996 in floats, and would drop a group of length 29.
            exact = (Fraction(repr(float(share))) for share in shares)
            low, high, top = (float(least + share * (greatest - least)) for share in exact)
        else:
            low, high, top = (quantile(values, share, rule=self.quantile, weights=weights) for share in shares)
        return low, high, top

    def select(self, values: PerGroup) -> GroupMask:
        """Which groups of a pool of these values are kept."""
        known = ~values.isnan()
        if not bool(known.any()):
            return torch.zeros_like(known)
        return self._mask(values.double(), *self.bounds(values[known].double()))

    def check_weights(self) -> None:
        """Refuses what is not defined where some groups count more than others."""
        if self.quantile != "inverted_cdf":
            raise SettingError(NEEDS_PLAIN.format(setting="quantile", value=self.quantile, other="inverted_cdf"))
        if self.thresholds != "percentile":
            raise SettingError(NEEDS_PLAIN.format(setting="thresholds", value=self.thresholds, other="percentile"))

    def keep_probability(self, below_share: Callable[[float], PerGroup]) -> PerGroup:
        """How likely a group is kept whose value is at most the pool's quantile of a share with this probability."""
        low, high, top = (below_share(share) for share in (self.low, self.high, self.cap))
        chances = {"both": low + top - high, "low": low, "high": top - high, "middle": high - low}
        return chances[self.keep].clamp(0.0, 1.0)

    def decide(self, values: PerGroup, names: BandNames, weights: PerGroup | None = None) -> Decision:
        """The mask with its reasons, bounds and distances, under a quantity's own names."""
        known = ~values.isnan()
        if not bool(known.any()):
            nothing = torch.zeros_like(known)
            reasons = [names.unknown] * len(values)
            return Decision(nothing, reasons, {}, in_pool=nothing, distance=values.nan_to_num(torch.inf))
        low, high, top = self.bounds(values[known], None if weights is None else weights[known])
        keep = self._mask(values, low, high, top)

        def region(value: float) -> str:
            if value != value:
                return names.unknown
            if value > top:
                return names.above_max
            return names.low if value <= low else names.high if value >= high else names.middle

        return Decision(
            keep,
            [KEPT if kept else region(value) for kept, value in zip(keep.tolist(), values.tolist(), strict=True)],
            {f"{names.quantity}_low": low, f"{names.quantity}_high": high, f"{names.quantity}_max": top},
            in_pool=known,
            distance=self._distance(values, keep, low, high, top),
        )

    def _mask(self, values: PerGroup, low: float, high: float, top: float) -> GroupMask:
        is_low = values <= low
        is_high = (high <= values) & (values <= top)
        if self.keep == "both":
            return is_low | is_high
        if self.keep == "low":
            return is_low
        if self.keep == "high":
            return is_high
        return (low < values) & (values < high)

    def _distance(self, values: PerGroup, keep: GroupMask, low: float, high: float, top: float) -> PerGroup:
        """From a group's value to the nearest that would be kept; never 0 for a group that is not."""
        from_low = (values - low).clamp(min=0)
        from_high = (high - values).clamp(min=0) + (values - top).clamp(min=0)
        from_middle = (low - values).clamp(min=0) + (values - high).clamp(min=0)
        distance = {
            "both": torch.minimum(from_low, from_high), "low": from_low, "high": from_high, "middle": from_middle,
        }[self.keep]  # fmt: skip
        # A group on a bound of the middle lies next to it, and is not in it.
        least = torch.finfo(distance.dtype).tiny
        return distance.clamp(min=least).masked_fill(keep, 0.0).nan_to_num(torch.inf)


def check_names(settings: object, **choices: Any) -> None:
    """Refuses settings that are none of the words of their `Literal`."""
    for name, words in choices.items():
        value, allowed = getattr(settings, name), get_args(words)
        if value not in allowed:
            raise SettingError(f"Expected `{name}` to be one of {', '.join(allowed)}, but got {value!r}.")


def _exact(value: float) -> Fraction:
    """The fraction a value was rounded from, if it is one of few responses' mean; else the float as it is."""
    simple = Fraction(value).limit_denominator(100_000)
    return simple if float(simple) == value else Fraction(value)
