"""What is expected of groups that are not generated yet: how many responses will be right, and how long they are."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from lspo.types import PerGroup

CorrectCounts = Float[Tensor, "P C"]
"""Probability of each number of correct responses, from none to all: C = G + 1."""


class Forecast(ABC):
    """Distributions of P groups, which a selector turns into the probability that it would keep each.

    Lengths are relative to the pool: a share of .3 stands for the length below or at which 30% of the pool's groups
    are, whatever it is in tokens.
    """

    iteration: int
    """The one that the groups would be of."""

    @property
    @abstractmethod
    def num_correct(self) -> CorrectCounts:
        """Probability that c of the G responses are right, for c from 0 to G; rows add up to 1."""

    @abstractmethod
    def below_share(self, share: float) -> PerGroup:
        """Probability that the group's length is at most the pool's quantile of `share`, from 0 to 1."""

    @property
    def certain(self) -> PerGroup:
        """1 for each group."""
        return torch.ones(len(self.num_correct), dtype=torch.float64)
