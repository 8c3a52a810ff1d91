"""How long a prompt's next responses will be, among those of the pool: a level per prompt, and how far it is off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque

import torch
from torch import Tensor

from lspo.sampling.quantile import quantile
from lspo.types import PerGroup


class LengthScale(ABC):
    """Turns lengths into values that are about normal, by the pools of the last few iterations."""

    def __init__(self, iterations: int) -> None:
        self.pools: deque[tuple[Tensor, Tensor]] = deque(maxlen=iterations)

    def add(self, lengths: PerGroup, weights: PerGroup) -> None:
        """Takes in the pool of an iteration: the groups of which bounds are quantiles."""
        # As exact as they are compared: in float32 a mean of 6 responses is no longer equal to itself.
        self.pools.append((lengths.double().clone(), weights.double().clone()))
        self._renew()

    def load(self, pools: list[tuple[Tensor, Tensor]]) -> None:
        self.pools.clear()
        self.pools.extend(pools)
        self._renew()

    @property
    def empty(self) -> bool:
        return not any(len(lengths) for lengths, _ in self.pools)

    def _renew(self) -> None:
        lengths = torch.cat([lengths for lengths, _ in self.pools]).double()
        weights = torch.cat([weights for _, weights in self.pools]).double()
        self._lengths, order = lengths.sort()
        self._weights = weights[order]

    @abstractmethod
    def score(self, lengths: PerGroup) -> Tensor:
        """The value of each length."""

    @abstractmethod
    def bound(self, share: float) -> float:
        """The value of the pool's quantile of a share."""


class RankScale(LengthScale):
    """A length's value is the normal score of its weighted mid-rank in the pool: bounds are then constants."""

    def score(self, lengths: PerGroup) -> Tensor:
        running = torch.cat([self._weights.new_zeros(1), self._weights.cumsum(0)])
        lengths = lengths.double()
        below = running[torch.searchsorted(self._lengths, lengths)]
        upto = running[torch.searchsorted(self._lengths, lengths, right=True)]
        # Half a group from either end, so that what is beyond all of the pool has a finite value.
        half = 0.5 / len(self._lengths)
        return torch.special.ndtri(((below + upto) / 2 / running[-1]).clamp(half, 1 - half))

    def bound(self, share: float) -> float:
        return float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))


class LogScale(LengthScale):
    """A length's value is its logarithm, less the pool's mean of that."""

    def _renew(self) -> None:
        super()._renew()
        logs = self._lengths.clamp(min=1).log()
        self._level = float((logs * self._weights).sum() / self._weights.sum())

    def score(self, lengths: PerGroup) -> Tensor:
        return lengths.double().clamp(min=1).log() - self._level

    def bound(self, share: float) -> float:
        if share >= 1:
            return float("inf")
        return float(self.score(torch.tensor([quantile(self._lengths, share, weights=self._weights)]))[0])
