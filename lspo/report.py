"""What is known of a round, and of a collection, when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lspo.plan import CollectPlan
from lspo.sampling.base import Decision, GroupStats
from lspo.types import GroupMask, RolloutGroup


@dataclass(frozen=True)
class RoundReport:
    """One round of generation, seen from all ranks.

    Args:
        iteration: Which iteration it belongs to.
        number: Its place among the iteration's rounds, from 0.
        stats: The groups of this round.
        pool_groups: Groups judged after it, this iteration's earlier rounds included.
        kept: Of those, kept so far.
        wanted: Groups to keep.
        decided: False while the pool is smaller than `min_pool`.
        reasons: Number of the pool's groups by reason.
        thresholds: Bounds applied.
        seconds: By phase: generate, reward, select.
        reward_metrics: The reward's own counters.
        pool_size: Groups the relative rule saw; None without one.
        reward_parts: Mean over the round's responses of each named part of the reward.
    """

    iteration: int
    number: int
    stats: GroupStats
    pool_groups: int
    kept: int
    wanted: int
    decided: bool
    reasons: Mapping[str, int]
    thresholds: Mapping[str, float]
    seconds: Mapping[str, float]
    reward_metrics: Mapping[str, float]
    pool_size: int | None = None
    reward_parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def num_groups(self) -> int:
        return len(self.stats)

    @property
    def num_tokens(self) -> int:
        return int(self.stats.lengths.sum())


@dataclass(frozen=True)
class CollectReport:
    """A collection that is over.

    Args:
        plan: What was asked for.
        groups: What is trained on, from all ranks, in draw order.
        own_groups: All groups that this rank generated, kept or not.
        stats: All groups of the iteration, from all ranks, in draw order.
        decision: On each of them.
        chosen: Those trained on: the kept ones less surplus, plus those filled up.
        rounds: Each round's report.
        phases: Seconds by phase: sync, generate, reward, select, and what the caller adds.
        seconds: Wall time of the whole collection.
    """

    plan: CollectPlan
    groups: list[RolloutGroup]
    own_groups: list[RolloutGroup]
    stats: GroupStats
    decision: Decision
    chosen: GroupMask
    rounds: list[RoundReport]
    phases: Mapping[str, float]
    seconds: float

    @property
    def num_surplus(self) -> int:
        """Groups that were kept but not needed: dropped, as the next iteration has other weights."""
        return int((self.decision.keep & ~self.chosen).sum())

    @property
    def num_filled(self) -> int:
        return int((self.chosen & ~self.decision.keep).sum())

    @property
    def num_tokens(self) -> int:
        """Response tokens generated for this iteration, on all ranks."""
        return int(self.stats.lengths.sum())
