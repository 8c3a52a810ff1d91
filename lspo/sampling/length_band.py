"""LSPO's rule: keep the groups whose average response is among the shortest or the longest."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch

from lspo.sampling.base import KEPT, Decision, GroupSelector, GroupStats
from lspo.sampling.quantile import QuantileRule, quantile
from lspo.sampling.statistic import LengthStatistic, group_length
from lspo.types import GroupMask, PerGroup

KeptRange = Literal["both", "short", "long", "middle"]
Thresholds = Literal["percentile", "value"]

TOO_LONG, MIDDLE, SHORT, LONG, UNKNOWN = "length_above_max", "length_middle", "length_short", "length_long", "no_length"


@dataclass(frozen=True)
class LengthBand(GroupSelector):
    """Keeps group q of a pool where its length L(q) <= Q(low), or Q(high) <= L(q) <= Q(max). Both sides inclusive.

    Args:
        low: Share of the pool that counts as short. Paper value 0.3.
        high: Share of the pool below the long ones. Paper value 0.65; the authors' script has 0.6.
        max: Share of the pool above which a group is too long. Paper value 0.95, authors' script 0.9; None or 1: none.
        quantile: "inverted_cdf" (the paper's Q) or "linear" (the authors' script).
        thresholds: "percentile": bounds are quantiles of the pool's lengths; "value": the same shares of the way from
            the pool's least length to its greatest (the authors' ablation).
        keep: "both" ends (LSPO), "short" or "long" only, or the "middle" between the two bounds, for ablations.
        statistic: What a group's length is; see `group_length`.

    Raises:
        ValueError: If the shares are out of range or order, or a name is unknown.

    Example:
        >>> import torch
        >>> LengthBand(low=0.25, high=0.75, max=None).select(torch.tensor([10.0, 20.0, 30.0, 40.0]))
        tensor([ True, False,  True,  True])

    Reference: Chen, Koenig, Dilkina, LSPO, arXiv:2510.01459, section 4.
    """

    low: float = 0.3
    high: float = 0.65
    max: float | None = 0.95
    quantile: QuantileRule = "inverted_cdf"
    thresholds: Thresholds = "percentile"
    keep: KeptRange = "both"
    statistic: LengthStatistic = "mean"

    def __post_init__(self) -> None:
        cap = 1.0 if self.max is None else self.max
        if not 0 <= self.low <= self.high <= cap <= 1:
            raise ValueError(
                "Expected 0 <= low <= high <= max <= 1 as shares of the pool, "
                f"but got low={self.low}, high={self.high}, max={self.max}."
            )
        choices = {
            "quantile": ("inverted_cdf", "linear"),
            "thresholds": ("percentile", "value"),
            "keep": ("both", "short", "long", "middle"),
            "statistic": ("mean", "median", "max", "correct_mean"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"Expected `{name}` to be one of {', '.join(allowed)}, but got {getattr(self, name)!r}."
                )

    def bounds(self, lengths: PerGroup) -> tuple[float, float, float]:
        """The three thresholds, in tokens, for a pool of lengths: of the short, of the long, and the cap."""
        cap = 1.0 if self.max is None else self.max
        if self.thresholds == "value":
            least, greatest = _exact(float(lengths.min())), _exact(float(lengths.max()))
            # In fractions: 0 + 0.29 * (100 - 0) is 28.999999999999996 in floats, and would drop a group of length 29.
            shares = (Fraction(repr(float(share))) for share in (self.low, self.high, cap))
            short, long, top = (float(least + share * (greatest - least)) for share in shares)
            return short, long, top
        short, long, top = (quantile(lengths, share, rule=self.quantile) for share in (self.low, self.high, cap))
        return short, long, top

    def select(self, lengths: PerGroup) -> GroupMask:
        """The bare rule: which groups of a pool of these lengths are kept. NaN, a group without a length, never is."""
        known = ~lengths.isnan()
        if not bool(known.any()):
            return torch.zeros_like(known)
        return self._mask(lengths.double(), *self.bounds(lengths[known].double()))

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        lengths = group_length(pool.lengths, pool.accuracy, statistic=self.statistic)
        known = ~lengths.isnan()
        if not bool(known.any()):
            nothing = torch.zeros(len(pool), dtype=torch.bool)
            return Decision(nothing, [UNKNOWN] * len(pool), {}, in_pool=nothing, distance=lengths.nan_to_num(torch.inf))
        short, long, top = self.bounds(lengths[known])
        keep = self._mask(lengths, short, long, top)
        reasons = [
            KEPT if kept else UNKNOWN if length != length else self._reason(length, short, long, top)
            for kept, length in zip(keep.tolist(), lengths.tolist(), strict=True)
        ]
        return Decision(
            keep,
            reasons,
            {"length_low": short, "length_high": long, "length_max": top},
            in_pool=known,
            distance=self._distance(lengths, keep, short, long, top),
        )

    def _mask(self, lengths: PerGroup, short: float, long: float, top: float) -> GroupMask:
        is_short = lengths <= short
        is_long = (long <= lengths) & (lengths <= top)
        if self.keep == "both":
            return is_short | is_long
        if self.keep == "short":
            return is_short
        if self.keep == "long":
            return is_long
        return (short < lengths) & (lengths < long)

    @staticmethod
    def _reason(length: float, short: float, long: float, top: float) -> str:
        if length > top:
            return TOO_LONG
        return SHORT if length <= short else LONG if length >= long else MIDDLE

    def _distance(self, lengths: PerGroup, keep: GroupMask, short: float, long: float, top: float) -> PerGroup:
        """Tokens between a group's length and the nearest that would be kept; never 0 for a group that is not."""
        from_short = (lengths - short).clamp(min=0)
        from_long = (long - lengths).clamp(min=0) + (lengths - top).clamp(min=0)
        from_middle = (short - lengths).clamp(min=0) + (lengths - long).clamp(min=0)
        distance = {
            "both": torch.minimum(from_short, from_long), "short": from_short, "long": from_long, "middle": from_middle,
        }[self.keep]  # fmt: skip
        # A group on a bound of the middle lies next to it, and is not in it.
        least = torch.finfo(distance.dtype).tiny
        return distance.clamp(min=least).masked_fill(keep, 0.0).nan_to_num(torch.inf)


def _exact(length: float) -> Fraction:
    """The fraction a length was rounded from, if it is one of few responses' mean; else the float as it is."""
    simple = Fraction(length).limit_denominator(100_000)
    return simple if float(simple) == length else Fraction(length)
