from __future__ import annotations

import itertools
import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lspo.objectives.advantages import group_advantages

BASELINES = ["mean", "leave_one_out"]
SCALES = ["group", "batch", "none"]
COMBINATIONS = list(itertools.product(BASELINES, SCALES))


def slow_std(values: list[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def slow_advantages(rewards: list[list[float]], baseline: str, scale: str, eps: float) -> list[list[float]]:
    everything = [reward for group in rewards for reward in group]
    advantages: list[list[float]] = []
    for group in rewards:
        divisor = {"group": slow_std(group) + eps, "batch": slow_std(everything) + eps, "none": 1.0}[scale]
        advantages.append([])
        for place, reward in enumerate(group):
            against = group if baseline == "mean" else group[:place] + group[place + 1 :]
            advantages[-1].append((reward - math.fsum(against) / len(against)) / divisor)
    return advantages


def random_rewards(kind: str, groups: int, group_size: int) -> torch.Tensor:
    rewards = torch.rand(groups, group_size, dtype=torch.float64)
    if kind == "binary":
        return (rewards < 0.4).double()
    if kind == "shaped":
        return (rewards < 0.4).double() - 0.5 * torch.rand(groups, group_size, dtype=torch.float64)
    return 100 * rewards - 70


@pytest.mark.parametrize(
    ("baseline", "scale", "expected"),
    # Rewards 1 0 0 0 | 1 1 0 0: means 1/4 and 1/2; means of the others 0, 1/3 and 1/3, 2/3.
    # Variance of the first group (9/16 + 3/16) / 3 = 1/4, of the second (4/4) / 3 = 1/3, of all 8 (mean 3/8)
    # (3 * 25/64 + 5 * 9/64) / 7 = 15/56.
    [
        ("mean", "none", [[3 / 4, -1 / 4, -1 / 4, -1 / 4], [1 / 2, 1 / 2, -1 / 2, -1 / 2]]),
        ("mean", "group", [[1.5, -0.5, -0.5, -0.5], [3**0.5 / 2, 3**0.5 / 2, -(3**0.5) / 2, -(3**0.5) / 2]]),
        (
            "mean",
            "batch",
            [
                [0.75 / (15 / 56) ** 0.5] + [-0.25 / (15 / 56) ** 0.5] * 3,
                [0.5 / (15 / 56) ** 0.5] * 2 + [-0.5 / (15 / 56) ** 0.5] * 2,
            ],
        ),
        ("leave_one_out", "none", [[1, -1 / 3, -1 / 3, -1 / 3], [2 / 3, 2 / 3, -2 / 3, -2 / 3]]),
    ],
)
def test_by_hand(baseline, scale, expected):
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    advantages = group_advantages(rewards, baseline=baseline, scale=scale, eps=0.0)
    assert_close(advantages, torch.tensor(expected))


@pytest.mark.parametrize(("baseline", "scale"), COMBINATIONS)
@pytest.mark.parametrize("kind", ["binary", "shaped", "wide"])
@pytest.mark.parametrize(("groups", "group_size"), [(1, 2), (3, 2), (5, 8), (16, 5)])
@pytest.mark.parametrize("eps", [1e-6, 1e-4])
def test_equals_the_loop(baseline, scale, kind, groups, group_size, eps):
    rewards = random_rewards(kind, groups, group_size)
    slow = slow_advantages(rewards.tolist(), baseline, scale, eps)
    fast = group_advantages(rewards, baseline=baseline, scale=scale, eps=eps)
    assert_close(fast, torch.tensor(slow, dtype=torch.float64))


@pytest.mark.parametrize(("baseline", "scale"), COMBINATIONS)
def test_eps_is_verls_by_default_and_the_scale_that_of_the_group(baseline, scale):
    rewards = random_rewards("binary", 4, 8)
    assert torch.equal(
        group_advantages(rewards, baseline=baseline, scale=scale),
        group_advantages(rewards, baseline=baseline, scale=scale, eps=1e-6),
    )
    assert torch.equal(group_advantages(rewards), group_advantages(rewards, baseline="mean", scale="group"))


@pytest.mark.parametrize(("baseline", "scale"), COMBINATIONS)
@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    group_size=st.sampled_from([2, 3, 4, 7, 8, 16, 33, 64, 257]),
    reward=st.floats(-1e8, 1e8, width=32) | st.sampled_from([0.0, 1.0, 0.1, -0.3, 1 / 3, 1e-30, 3e7]),
    steps=st.sampled_from([[0] * 257, [0, 1] * 129, [-1, 0, 1] * 86, [1] + [0] * 256, [-1] * 256 + [1]]),
)
def test_flat_groups_are_exactly_zero(baseline, scale, group_size, reward, steps):
    """Equal rewards, and rewards that are equal but for the last bit of float32, in a pool with a group that is not."""
    flat = torch.full((group_size,), reward, dtype=torch.float32)
    if abs(reward) > 1e-30:
        step = torch.tensor(steps[:group_size])
        flat = torch.where(step > 0, flat.nextafter(torch.tensor(torch.inf)), flat)
        flat = torch.where(step < 0, flat.nextafter(torch.tensor(-torch.inf)), flat)
    lively = torch.arange(group_size, dtype=torch.float32)
    advantages = group_advantages(torch.stack([flat, lively, flat]), baseline=baseline, scale=scale)
    assert torch.all(advantages[[0, 2]] == 0)
    assert torch.all(advantages[1, [0, -1]] != 0)


@pytest.mark.parametrize(("baseline", "scale"), COMBINATIONS)
@pytest.mark.parametrize("terms", [[0.1, 0.6, 0.7], [0.1, 0.2, -0.3, 1.0]])
def test_sums_of_the_same_parts_in_another_order_are_flat(baseline, scale, terms):
    sums = []
    for order in itertools.permutations(terms):
        total = torch.tensor(0.0)
        for term in order:
            total = total + term
        sums.append(total)
    rewards = torch.stack(sums)[None]
    assert rewards.unique().numel() > 1
    assert torch.all(group_advantages(rewards, baseline=baseline, scale=scale) == 0)


@pytest.mark.parametrize(("baseline", "scale"), COMBINATIONS)
@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 1e3])
def test_a_small_but_real_spread_is_not_flat(baseline, scale, magnitude):
    rewards = magnitude * torch.tensor([[1.0, 1.0001, 1.0, 1.0]])
    advantages = group_advantages(rewards, baseline=baseline, scale=scale)
    assert advantages[0, 1] > 0
    assert torch.all(advantages[0, [0, 2, 3]] < 0)


@pytest.mark.parametrize(("baseline", "scale"), COMBINATIONS)
def test_advantages_of_a_group_sum_to_zero(baseline, scale):
    advantages = group_advantages(random_rewards("shaped", 6, 8), baseline=baseline, scale=scale)
    assert_close(advantages.sum(dim=1), torch.zeros(6, dtype=torch.float64))


@pytest.mark.parametrize(("baseline", "scale"), COMBINATIONS)
def test_order_and_offset_of_the_rewards_do_not_matter(baseline, scale):
    def advantages(rewards):
        return group_advantages(rewards, baseline=baseline, scale=scale)

    rewards = random_rewards("shaped", 6, 8)
    rows, columns = torch.randperm(6), torch.randperm(8)
    assert_close(advantages(rewards[rows][:, columns]), advantages(rewards)[rows][:, columns])
    assert_close(advantages(rewards + 5), advantages(rewards))


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("scale", ["group", "batch"])
def test_unit_of_the_rewards_does_not_matter(baseline, scale):
    rewards = random_rewards("shaped", 6, 8)
    assert_close(
        group_advantages(1000 * rewards, baseline=baseline, scale=scale, eps=0.0),
        group_advantages(rewards, baseline=baseline, scale=scale, eps=0.0),
    )


def test_only_the_batch_scale_looks_at_other_groups():
    rewards = random_rewards("wide", 6, 8)
    for baseline, scale in COMBINATIONS:
        alone = group_advantages(rewards[:1], baseline=baseline, scale=scale)
        together = group_advantages(rewards, baseline=baseline, scale=scale)[:1]
        assert torch.allclose(alone, together) == (scale != "batch")


@pytest.mark.parametrize(("baseline", "scale"), COMBINATIONS)
def test_a_group_of_one_has_no_baseline(baseline, scale):
    with pytest.raises(ValueError, match=r"Expected `group_size` to be at least 2, .* but got 1"):
        group_advantages(torch.ones(3, 1), baseline=baseline, scale=scale)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"baseline": "median"}, "Expected `baseline` to be 'mean' or 'leave_one_out', but got 'median'"),
        ({"scale": "std"}, "Expected `scale` to be one of 'group', 'batch', 'none', but got 'std'"),
    ],
)
def test_unknown_settings(monkeypatch, setting, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the shape checker would be first to refuse it
    with pytest.raises(ValueError, match=message):
        group_advantages(torch.ones(2, 2), **setting)
