"""The accuracy filter: groups that are all wrong or all right carry no signal relative to their group."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lspo.errors import SettingError
from lspo.sampling.base import KEPT, Decision, GroupSelector, GroupStats
from lspo.sampling.forecast import Forecast
from lspo.types import PerGroup


@dataclass(frozen=True)
class AccuracyBand(GroupSelector):
    """Keeps groups whose accuracy lies strictly between `low` and `high`: by default, neither all wrong nor all right.

    With `inclusive` it is the difficulty band of the field: `AccuracyBand(low=0.2, high=0.8, inclusive=True)`.

    Counts correct responses as whole numbers, so no rounding can pass a group without spread; and reads strict
    accuracy, so no format bonus can.

    Args:
        low: Lower bound on the group's accuracy, itself dropped.
        high: Upper bound on the group's accuracy, itself dropped.
        inclusive: Keep both bounds themselves; then they may be equal.

    Raises:
        ValueError: Unless 0 <= low < high <= 1, or, with `inclusive`, 0 <= low <= high <= 1.

    Reference: Yu et al., DAPO, arXiv:2503.14476, eq. 11 (dynamic sampling).
    """

    low: float = 0.0
    high: float = 1.0
    inclusive: bool = False

    def __post_init__(self) -> None:
        ordered = self.low <= self.high if self.inclusive else self.low < self.high
        if not (self.low >= 0 and ordered and self.high <= 1):
            between = "<=" if self.inclusive else "<"
            raise SettingError(
                f"Expected 0 <= low {between} high <= 1 as accuracy bounds, but got low={self.low}, high={self.high}."
            )

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        too_low, too_high = self._outside(pool.num_correct, pool.accuracy.shape[1])
        low_reason = "all_wrong" if self.low == 0 else "accuracy_low"
        high_reason = "all_right" if self.high == 1 else "accuracy_high"
        reasons = [
            low_reason if low else high_reason if high else KEPT
            for low, high in zip(too_low.tolist(), too_high.tolist(), strict=True)
        ]
        keep = ~(too_low | too_high)
        distance = torch.where(keep, 0.0, torch.inf).double()
        thresholds = {"accuracy_low": self.low, "accuracy_high": self.high}
        return Decision(keep, reasons, thresholds, in_pool=None, distance=distance)

    def keep_probability(self, forecast: Forecast) -> PerGroup:
        counts = forecast.num_correct
        group_size = counts.shape[1] - 1
        too_low, too_high = self._outside(torch.arange(group_size + 1), group_size)
        return counts[:, ~(too_low | too_high)].sum(dim=1)

    def _outside(self, correct: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
        """Which counts of correct responses are too low, and which too high."""
        # Tolerance far below one response: 0.3 * 10 is 3.0000000000000004 for some products of such bounds.
        inwards = -1e-6 if self.inclusive else 1e-6
        return correct <= self.low * group_size + inwards, correct >= self.high * group_size - inwards
