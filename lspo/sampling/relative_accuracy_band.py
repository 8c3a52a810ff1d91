"""The band of LSPO on accuracy in place of length: the ablation that asks whether length matters at all."""

from __future__ import annotations

from dataclasses import dataclass

from lspo.sampling.band import BandEnds, BandNames, BandRule, Thresholds, check_names
from lspo.sampling.base import Decision, GroupSelector, GroupStats
from lspo.sampling.quantile import QuantileRule
from lspo.types import GroupMask, PerGroup

NAMES = BandNames(
    "relative_accuracy",
    "relative_accuracy_low",
    "relative_accuracy_middle",
    "relative_accuracy_high",
    "relative_accuracy_above_max",
    unknown="no_accuracy",
)


@dataclass(frozen=True)
class RelativeAccuracyBand(GroupSelector):
    """Keeps group q of a pool where its accuracy a(q) <= Q(low), or Q(high) <= a(q) <= Q(max). Both sides inclusive.

    Relative to the pool, where `AccuracyBand` has fixed bounds. A group has one of G + 1 accuracies, so many tie with a
    bound, all of them are within, and more than the shares say are kept.

    Args:
        low: Share of the pool that counts as hard.
        high: Share of the pool below the easy ones.
        max: Share of the pool above which a group is too easy; None or 1: none.
        quantile: "inverted_cdf" or "linear", as for `LengthBand`.
        thresholds: "percentile": bounds are quantiles of the pool's accuracies; "value": the same shares of the way
            from the pool's least accuracy to its greatest.
        keep: "both" ends, the "low" (hard) or "high" (easy) one alone, or the "middle" between the two bounds.

    Raises:
        ValueError: If the shares are out of range or order, or a name is unknown.

    Example:
        >>> import torch
        >>> RelativeAccuracyBand(low=0.25, high=0.75, max=None).select(torch.tensor([0.1, 0.2, 0.3, 0.4]))
        tensor([ True, False,  True,  True])

    Reference: Chen, Koenig, Dilkina, LSPO, arXiv:2510.01459, ablation of the filter's quantity.
    """

    low: float = 0.3
    high: float = 0.65
    max: float | None = 0.95
    quantile: QuantileRule = "inverted_cdf"
    thresholds: Thresholds = "percentile"
    keep: BandEnds = "both"

    def __post_init__(self) -> None:
        check_names(self, quantile=QuantileRule, thresholds=Thresholds, keep=BandEnds)
        _ = self.rule

    @property
    def rule(self) -> BandRule:
        return BandRule(self.low, self.high, self.max, self.quantile, self.thresholds, self.keep)

    def select(self, accuracies: PerGroup) -> GroupMask:
        """The bare rule: which groups of a pool of these accuracies are kept."""
        return self.rule.select(accuracies)

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        group_size = pool.accuracy.shape[1]
        # Counted as whole numbers: equal counts are equal accuracies.
        return self.rule.decide(pool.num_correct.double() / group_size, NAMES, pool.weights)

    def check_weights(self) -> None:
        self.rule.check_weights()
