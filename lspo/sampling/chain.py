"""Selectors one after another, each on what the one before it left."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lspo.errors import SettingError
from lspo.sampling.base import Decision, GroupSelector, GroupStats
from lspo.sampling.forecast import Forecast
from lspo.types import PerGroup


class Chain(GroupSelector):
    """Applies selectors in turn; a later one sees only the groups that the earlier ones kept.

    `Chain(AccuracyBand(), LengthBand())` is LSPO: the length band's quantiles are those of the accuracy survivors.

    Args:
        *in_turn: In the order of application; at least one.
        selectors: The same as one list, for configuration files.

    Raises:
        ValueError: If no selector is given.
    """

    def __init__(self, *in_turn: GroupSelector, selectors: Sequence[GroupSelector] = ()) -> None:
        self.selectors = (*in_turn, *selectors)
        if not self.selectors:
            raise SettingError("Expected at least one selector in a `Chain`, but got none.")

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.selectors))})"

    def keep_probability(self, forecast: Forecast) -> PerGroup:
        """The product: a group is kept if every selector keeps it."""
        kept = forecast.certain
        for selector in self.selectors:
            kept = kept * selector.keep_probability(forecast)
        return kept

    def check_weights(self) -> None:
        for selector in self.selectors:
            selector.check_weights()

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        size = len(pool)
        alive = torch.arange(size)
        keep = torch.ones(size, dtype=torch.bool)
        distance = torch.zeros(size, dtype=torch.float64)
        reasons = [""] * size
        thresholds: dict[str, float] = {}
        in_pool: torch.Tensor | None = None
        lengths: torch.Tensor | None = None
        for selector in self.selectors:
            survivors = torch.zeros(size, dtype=torch.bool)
            survivors[alive] = True
            decision = selector.decide(pool.where(survivors), iteration)
            thresholds |= decision.thresholds
            for place, reason in zip(alive.tolist(), decision.reasons, strict=True):
                reasons[place] = reason
            keep[alive] = decision.keep
            own = decision.distance
            distance[alive] = torch.where(decision.keep, 0.0, torch.inf).double() if own is None else own
            if decision.in_pool is not None:
                # The last relative rule is the one whose pool must be large enough.
                in_pool = torch.zeros(size, dtype=torch.bool)
                in_pool[alive] = decision.in_pool
            if decision.lengths is not None:
                lengths = torch.full((size,), torch.nan, dtype=torch.float64)
                lengths[alive] = decision.lengths.double()
            alive = alive[decision.keep]
        return Decision(keep, reasons, thresholds, in_pool=in_pool, distance=distance, lengths=lengths)
