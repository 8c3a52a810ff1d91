"""What a selector sees and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

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
    """

    draw_index: GroupIndex
    prompt_ids: Sequence[str]
    lengths: PerResponse
    accuracy: PerResponse
    rewards: PerResponse
    truncated: ResponseMask

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
        )


@dataclass(frozen=True)
class Decision:
    """What becomes of each group of a pool, and why.

    Args:
        keep: True = train on it.
        reasons: "kept", or why not, one a group.
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


class GroupSelector(ABC):
    """A pure rule: statistics of a pool in, decisions with reasons out. Knows no loader, engine or rank."""

    @abstractmethod
    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        """Judge every group of the pool; the same pool gives the same decision, however it was generated."""
