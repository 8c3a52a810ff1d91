"""What is known of a round, and of a collection, when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from lspo.collecting.plan import CollectPlan
from lspo.held import is_here
from lspo.sampling.base import Decision, GroupStats
from lspo.sampling.downsample import Downsampler
from lspo.types import Draw, GroupMask, ResponseMask, RolloutGroup

Gather = Callable[[Any], list[Any]]
"""Gives every rank the list of all ranks' objects, in rank order."""


def alone(item: Any) -> list[Any]:
    """The `gather` of a single process."""
    return [item]


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
        seconds: By phase, on the thread that collects: generate, waiting for the engine; reward, waiting for scores;
            select. What the reward takes while the engine is waited for is not in them.
        reward_metrics: The reward's own counters.
        pool_size: Groups the relative rule saw, as many of one weight as say as much; None without one.
        history_size: As many of one weight as the groups of earlier iterations among them.
        reward_parts: Mean of each named part of the reward, over the round's responses that have it.
        reward_part_counts: How many have it.
        nonfinite_tokens: Response tokens whose engine log-prob is not finite: left out of the loss.
        reward_hidden_seconds: What the reward took while the engine was waited for: no time of the round's own.
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
    pool_size: int | float | None = None
    history_size: int | float = 0
    reward_parts: Mapping[str, float] = field(default_factory=dict)
    reward_part_counts: Mapping[str, int] = field(default_factory=dict)
    nonfinite_tokens: int = 0
    reward_hidden_seconds: float = 0.0

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
        groups: What is trained on, from all ranks, in draw order. On several ranks the tokens and texts of a group are
            on the one that wrote it: of the others' groups, lengths and scores are known (`lspo.held.is_here`).
        surplus: What was kept but not needed, and may be trained on in a later iteration; empty where `max_age` is 0.
        own_groups: All groups that this rank generated, kept or not.
        stats: All groups of the iteration, from all ranks, in draw order.
        decision: On each of them.
        chosen: Those trained on: the kept ones less surplus, plus those filled up.
        rounds: Each round's report.
        phases: Seconds by phase: sync, those of the rounds (generate, reward, select), and what the caller adds.
        seconds: Wall time of the whole collection.
        num_carried: Groups trained on that earlier iterations had as surplus.
        num_expired: Surplus of earlier iterations that has become older than `max_age`, and is dropped.
        responses: True = a response trained on, where those of a group are down-sampled; None: all of the chosen.
        undecided: True = a group whose pool was below `min_pool` to the last; None: none.
        reward_hidden_seconds: What the reward took while the engine was waited for: in none of the phases.
        places: Of groups of which not all responses are trained on, by draw index: which of them are.
        draws: What was drawn, on all ranks: one for each row of `stats`.
        prediction: What a predictor saved and how right it was, by name; empty without one.
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
    surplus: list[RolloutGroup] = field(default_factory=list)
    num_carried: int = 0
    num_expired: int = 0
    responses: ResponseMask | None = None
    undecided: GroupMask | None = None
    reward_hidden_seconds: float = 0.0
    places: Mapping[int, Sequence[int]] = field(default_factory=dict)
    draws: Sequence[Draw] = ()
    prediction: Mapping[str, float] = field(default_factory=dict)

    def downsampled(self, rule: Downsampler, *, gather: Gather = alone) -> CollectReport:
        """The same collection, with the responses of each chosen group alone that the rule keeps.

        Each rank asks the rule about the groups that it holds, whose texts it has.
        """
        own = {group.draw_index: rule.places(group) for group in self.groups if is_here(group)}
        places = {index: chosen for part in gather(own) for index, chosen in part.items()}
        responses = torch.zeros(self.stats.lengths.shape, dtype=torch.bool)
        for row, index in enumerate(self.stats.draw_index.tolist()):
            responses[row, places.get(index, [])] = True
        groups = [
            replace(group, rollouts=tuple(group.rollouts[place] for place in places[group.draw_index]))
            for group in self.groups
        ]
        return replace(self, groups=groups, responses=responses, places=places)

    @property
    def trained(self) -> ResponseMask:
        """True = a response that is trained on."""
        whole = self.chosen[:, None].expand(self.stats.lengths.shape)
        return whole if self.responses is None else self.responses

    @property
    def num_downsampled(self) -> int:
        """Responses of chosen groups that are not trained on."""
        return int((self.chosen[:, None] & ~self.trained).sum())

    @property
    def num_surplus(self) -> int:
        """Groups of this iteration that were kept but not needed; dropped where `max_age` is 0."""
        return int((self.decision.keep & ~self.chosen).sum())

    @property
    def num_filled(self) -> int:
        return int((self.chosen & ~self.decision.keep).sum())

    @property
    def num_undecided(self) -> int:
        """Groups trained on by bounds of a pool below `min_pool`, as the round limit had come."""
        return 0 if self.undecided is None else int((self.chosen & self.undecided).sum())

    @property
    def num_tokens(self) -> int:
        """Response tokens generated for this iteration, on all ranks."""
        return int(self.stats.lengths.sum())
