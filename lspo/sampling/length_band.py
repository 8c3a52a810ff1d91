"""LSPO's rule: keep the groups whose average response is among the shortest or the longest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lspo.sampling.band import BandEnds, BandNames, BandRule, Thresholds, check_names
from lspo.sampling.base import Decision, GroupSelector, GroupStats
from lspo.sampling.forecast import Forecast
from lspo.sampling.quantile import QuantileRule
from lspo.sampling.statistic import LengthStatistic, group_length
from lspo.types import GroupMask, PerGroup

KeptRange = Literal["both", "short", "long", "middle"]

NAMES = BandNames("length", "length_short", "length_middle", "length_long", "length_above_max", unknown="no_length")
ENDS: dict[str, BandEnds] = {"both": "both", "short": "low", "long": "high", "middle": "middle"}


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
        check_names(self, quantile=QuantileRule, thresholds=Thresholds, keep=KeptRange, statistic=LengthStatistic)
        _ = self.rule

    @property
    def rule(self) -> BandRule:
        return BandRule(self.low, self.high, self.max, self.quantile, self.thresholds, ENDS[self.keep])

    def bounds(self, lengths: PerGroup) -> tuple[float, float, float]:
        """The three thresholds, in tokens, for a pool of lengths: of the short, of the long, and the cap."""
        return self.rule.bounds(lengths)

    def select(self, lengths: PerGroup) -> GroupMask:
        """The bare rule: which groups of a pool of these lengths are kept. NaN, a group without a length, never is."""
        return self.rule.select(lengths)

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        lengths = group_length(pool.lengths, pool.accuracy, statistic=self.statistic)
        return replace(self.rule.decide(lengths, NAMES, pool.weights), lengths=lengths)

    def keep_probability(self, forecast: Forecast) -> PerGroup:
        return self.rule.keep_probability(forecast.below_share)

    def check_weights(self) -> None:
        self.rule.check_weights()
