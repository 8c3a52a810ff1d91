"""The accuracy filter: groups that are all wrong or all right carry no signal relative to their group."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lspo.sampling.base import KEPT, Decision, GroupSelector, GroupStats


@dataclass(frozen=True)
class AccuracyBand(GroupSelector):
    """Keeps groups whose accuracy lies strictly between `low` and `high`: by default, neither all wrong nor all right.

    Counts correct responses as whole numbers, so no rounding can pass a group without spread; and reads strict
    accuracy, so no format bonus can.

    Args:
        low: Lower bound on the group's accuracy, itself dropped.
        high: Upper bound on the group's accuracy, itself dropped.

    Raises:
        ValueError: Unless 0 <= low < high <= 1.

    Reference: Yu et al., DAPO, arXiv:2503.14476, eq. 11 (dynamic sampling).
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(
                f"Expected 0 <= low < high <= 1 as accuracy bounds, but got low={self.low}, high={self.high}."
            )

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        group_size = pool.accuracy.shape[1]
        correct = (pool.accuracy > 0.5).sum(dim=1)
        # Tolerance far below one response: 0.3 * 10 is 3.0000000000000004 for some products of such bounds.
        too_low = correct <= self.low * group_size + 1e-6
        too_high = correct >= self.high * group_size - 1e-6
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
