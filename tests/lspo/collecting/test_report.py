from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport, RoundReport
from lspo.held import outline
from lspo.sampling import Decision, MaxVariance
from lspo.testing import make_pool
from lspo.types import Prompt, Rollout, RolloutGroup, Score


def test_counts() -> None:
    stats = make_pool([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    keep, chosen = torch.tensor([True, True, True, False]), torch.tensor([True, False, True, True])
    report = CollectReport(
        plan=CollectPlan(iteration=0, train_groups=3, group_size=2, round_prompts=4),
        groups=[],
        own_groups=[],
        stats=stats,
        decision=Decision(keep, ["kept", "kept", "kept", "length_middle"]),
        chosen=chosen,
        rounds=[],
        phases={},
        seconds=1.0,
    )
    assert report.num_surplus == 1  # the second: kept, not chosen
    assert report.num_filled == 1  # the fourth: chosen, not kept
    assert report.num_tokens == 36


def test_down_sampled_responses() -> None:
    def group(index: int, rewards: list[float]) -> RolloutGroup:
        rollouts = tuple(
            Rollout((place,), (-1.0,), False, str(place), Score(1.0, r)) for place, r in enumerate(rewards)
        )
        return RolloutGroup(Prompt(str(index), "", (1,), ""), index, 0, rollouts)

    rewards = [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.5, 0.0, 1.0]]
    chosen = torch.tensor([True, False, True])
    report = CollectReport(
        plan=CollectPlan(iteration=0, train_groups=2, group_size=3, round_prompts=3),
        groups=[group(4, rewards[0]), group(6, rewards[2])],
        own_groups=[group(4 + place, row) for place, row in enumerate(rewards)],
        stats=make_pool([[1.0] * 3] * 3, rewards=rewards, first_index=4),
        decision=Decision(chosen, ["kept", "length_middle", "kept"]),
        chosen=chosen,
        rounds=[],
        phases={},
        seconds=1.0,
    )
    assert report.trained.tolist() == [[True] * 3, [False] * 3, [True] * 3]
    assert report.num_downsampled == 0
    thinned = report.downsampled(MaxVariance(keep=2))
    assert thinned.trained.tolist() == [[True, False, True], [False] * 3, [False, True, True]]
    assert thinned.num_downsampled == 2
    assert [[rollout.text for rollout in group.rollouts] for group in thinned.groups] == [["0", "2"], ["1", "2"]]
    assert thinned.own_groups == report.own_groups
    assert report.downsampled(MaxVariance(keep=3)).groups == report.groups
    # Another rank has written the second, and says which of its responses are kept.
    other = replace(report, groups=[report.groups[0], outline(report.groups[1], holder=1)])
    told: list[Any] = []

    def gather(own: dict[int, list[int]]) -> list[dict[int, list[int]]]:
        told.append(own)
        return [own, {6: [1, 2]}]

    there = other.downsampled(MaxVariance(keep=2), gather=gather)
    assert told == [{4: [0, 2]}]
    assert there.trained.tolist() == thinned.trained.tolist()
    assert there.groups[0] == thinned.groups[0]
    assert [rollout.key for rollout in there.groups[1].rollouts] == [(6, 1), (6, 2)]  # type: ignore[attr-defined]


def test_a_rounds_counts() -> None:
    report = RoundReport(
        iteration=0,
        number=0,
        stats=make_pool([[1.0, 2.0], [3.0, 4.0]]),
        pool_groups=2,
        kept=0,
        wanted=3,
        decided=True,
        reasons={},
        thresholds={},
        seconds={},
        reward_metrics={},
    )
    assert (report.num_groups, report.num_tokens, report.pool_size) == (2, 10, None)
