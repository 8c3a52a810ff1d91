"""Rules that take one thing away from LSPO's: the information in lengths, or the lengths themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from lspo.hashing import GOLDEN, mix
from lspo.sampling import LengthBand
from lspo.sampling.base import KEPT, Decision, GroupSelector, GroupStats
from lspo.sampling.length_band import NAMES
from lspo.sampling.statistic import group_length
from lspo.types import GroupIndex


def shuffled(draw_index: GroupIndex) -> GroupIndex:
    """The groups in an order that has nothing to do with them: that of a hash of their running numbers."""
    return mix(draw_index * GOLDEN).argsort()


@dataclass(frozen=True)
class PermutedLengths(GroupSelector):
    """The band, on the pool's lengths dealt out at random among its groups: all of LSPO but what lengths say."""

    band: LengthBand = field(default_factory=LengthBand)

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        lengths = group_length(pool.lengths, pool.accuracy, statistic=self.band.statistic)
        dealt = torch.empty_like(lengths)
        dealt[shuffled(pool.draw_index)] = lengths
        return self.band.rule.decide(dealt, NAMES, pool.weights)


@dataclass(frozen=True)
class RandomAsMany(GroupSelector):
    """As many groups of the pool as the band would keep of it, ties included, at random."""

    band: LengthBand = field(default_factory=LengthBand)

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        count = int(self.band.decide(pool, iteration).keep.sum())
        keep = torch.zeros(len(pool), dtype=torch.bool)
        keep[shuffled(pool.draw_index)[:count]] = True
        reasons = [KEPT if kept else "at_random" for kept in keep.tolist()]
        return Decision(keep, reasons, {}, in_pool=torch.ones_like(keep), distance=(~keep).double())


@dataclass(frozen=True)
class WithoutKind(GroupSelector):
    """Drops the groups of a kind by name: what a rule could do that knew what lengths only hint at."""

    kind: str

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        keep = torch.tensor([not name.startswith(f"{self.kind}-") for name in pool.prompt_ids], dtype=torch.bool)
        reasons = [KEPT if kept else self.kind for kept in keep.tolist()]
        return Decision(keep, reasons, {}, distance=torch.where(keep, 0.0, torch.inf).double())
