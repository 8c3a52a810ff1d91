"""One length for a group of responses."""

from __future__ import annotations

from typing import Literal

from lspo.errors import SettingError
from lspo.types import PerGroup, PerResponse

LengthStatistic = Literal["mean", "median", "max", "correct_mean"]


def group_length(lengths: PerResponse, accuracy: PerResponse, *, statistic: LengthStatistic = "mean") -> PerGroup:
    """The group's length in response tokens, in float64.

    Args:
        lengths: Response tokens.
        accuracy: 0 or 1; read by "correct_mean" alone.
        statistic: "mean" of all responses (L(q) = 1/G sum_i |o_i|, the paper's eq. 3), "median", "max", or
            "correct_mean": of the correct responses, NaN for a group without one.

    Example:
        >>> import torch
        >>> group_length(torch.tensor([[2.0, 4.0, 9.0]]), torch.tensor([[1.0, 1.0, 0.0]]), statistic="correct_mean")
        tensor([3.], dtype=torch.float64)
    """
    lengths = lengths.double()
    if statistic == "mean":
        return lengths.mean(dim=1)
    if statistic == "median":
        # Not torch.quantile, which refuses an empty pool, as a round of all wrong groups leaves.
        ordered, last = lengths.sort(dim=1).values, lengths.shape[1] - 1
        return (ordered[:, last // 2] + ordered[:, (last + 1) // 2]) / 2
    if statistic == "max":
        return lengths.amax(dim=1)
    if statistic == "correct_mean":
        correct = accuracy > 0.5
        return (lengths * correct).sum(dim=1) / correct.sum(dim=1)
    raise SettingError(f"Expected `statistic` to be mean, median, max or correct_mean, but got {statistic!r}.")
