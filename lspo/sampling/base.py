"""What a selector sees and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from lspo.sampling.forecast import Forecast
from lspo.sampling.quantile import differ
from lspo.types import GroupIndex, GroupMask, PerGroup, PerResponse, ResponseMask

KEPT = "kept"


@dataclass(frozen=True)
class GroupStats:
    """What is known of a pool of groups, one row each, in draw order.

    Args:
        draw_index: Place of the group's prompt in the order of drawing; unique.
        prompt_ids: Names of the prompts.
        lengths: Response tokens, the end token included.
        accuracy: Strict correctness of each response, 0 or 1.
        rewards: What the objective sees.
        truncated: True = cut at the response limit.
        weights: How many groups of the uniform draw of prompts each stands for, 1 / the probability with which its
            prompt was drawn, above 0; None: 1 each.
    """

    draw_index: GroupIndex
    prompt_ids: Sequence[str]
    lengths: PerResponse
    accuracy: PerResponse
    rewards: PerResponse
    truncated: ResponseMask
    weights: PerGroup | None = None

    def __len__(self) -> int:
        return len(self.draw_index)

    def where(self, mask: GroupMask) -> GroupStats:
        """The groups where the mask is True, in their order."""
        chosen = mask.nonzero(as_tuple=True)[0]
        return GroupStats(
            draw_index=self.draw_index[chosen],
            prompt_ids=[self.prompt_ids[i] for i in chosen.tolist()],
            lengths=self.lengths[chosen],
            accuracy=self.accuracy[chosen],
            rewards=self.rewards[chosen],
            truncated=self.truncated[chosen],
            weights=None if self.weights is None else self.weights[chosen],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[GroupStats]) -> GroupStats:
        return cls(
            draw_index=torch.cat([part.draw_index for part in parts]),
            prompt_ids=[name for part in parts for name in part.prompt_ids],
            lengths=torch.cat([part.lengths for part in parts]),
            accuracy=torch.cat([part.accuracy for part in parts]),
            rewards=torch.cat([part.rewards for part in parts]),
            truncated=torch.cat([part.truncated for part in parts]),
            weights=None
            if all(part.weights is None for part in parts)
            else torch.cat([part.each_weight for part in parts]),
        )

    @property
    def num_correct(self) -> GroupIndex:
        """Right responses of each group."""
        return (self.accuracy > 0.5).sum(dim=1)

    @property
    def mixed(self) -> GroupMask:
        """True = some responses are right, and some wrong."""
        correct = self.num_correct
        return (correct > 0) & (correct < self.accuracy.shape[1])

    @property
    def each_weight(self) -> PerGroup:
        """The weights, 1 each where there are none."""
        return torch.ones(len(self), dtype=torch.float64) if self.weights is None else self.weights.double()

    @property
    def effective_size(self) -> int | float:
        """How many groups of one weight say as much about the pool: (sum w)^2 / sum w^2; their number without weights.

        Reference: Kish, Survey Sampling, 1965.
        """
        return effective_size(self.weights, len(self))


def effective_size(weights: PerGroup | None, count: int) -> int | float:
    """(sum w)^2 / sum w^2 of weights; exactly their `count` where they are alike or there are none."""
    if weights is None or not differ(weights):
        return count
    weights = weights.double()
    return float(weights.sum() ** 2 / (weights**2).sum())


@dataclass(frozen=True)
class Decision:
    """What becomes of each group of a pool, and why.

    Args:
        keep: True = train on it.
        reasons: "kept", or why not, one per group.
        thresholds: The bounds that were applied, by name, for the logs.
        in_pool: True = counted towards the bounds of a rule that is relative to the pool; None where no rule is.
        distance: How far a group is from being kept: 0 if it is, infinite where a filter of correctness dropped it.
            Collecting fills up with the nearest.
        lengths: The length by which a rule of lengths has judged each group, NaN of those it has not seen; None without
            one.
    """

    keep: GroupMask
    reasons: list[str]
    thresholds: dict[str, float] = field(default_factory=dict)
    in_pool: GroupMask | None = None
    distance: PerGroup | None = None
    lengths: PerGroup | None = None

    @property
    def pool_size(self) -> int | None:
        """Groups that the relative rule was computed over; None where every group is judged by itself."""
        return None if self.in_pool is None else int(self.in_pool.sum())


def short_sides(decision: Decision, stats: GroupStats) -> GroupMask | None:
    """True = nearer the short bound of lengths than the long one; None where there is no band of lengths.

    By the middle between them, as bounds may be those of one round among several.
    """
    low, high = (decision.thresholds.get(name) for name in ("length_low", "length_high"))
    if low is None or high is None:
        return None
    lengths = stats.lengths.mean(dim=1) if decision.lengths is None else decision.lengths
    return lengths <= (low + high) / 2


class GroupSelector(ABC):
    """A pure rule: statistics of a pool in, decisions with reasons out. Knows no loader, engine or rank."""

    @abstractmethod
    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        """Judge every group of the pool; the same pool gives the same decision, however it was generated."""

    def keep_probability(self, forecast: Forecast) -> PerGroup:
        """How likely it is that the rule keeps each group that is forecast; 1 for a rule that does not say."""
        return forecast.certain

    def check_weights(self) -> None:  # noqa: B027, nothing to check by default
        """Whether the rule can judge a pool whose groups have weights, as a predictor's have.

        Raises:
            ValueError: If it can't; the message says what can.
        """
