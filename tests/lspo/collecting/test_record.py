"""An iteration as plain numbers, against those worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from lspo.collecting.plan import CollectPlan
from lspo.collecting.record import histogram, iteration_row, plain
from lspo.collecting.report import CollectReport
from lspo.runs.record import MAX_BYTES, fitted, line_of
from lspo.sampling import Decision, MaxVariance
from lspo.testing import make_pool
from lspo.types import Prompt, Rollout, RolloutGroup, Score

BAND = {"length_low": 4.0, "length_high": 8.0, "length_max": 20.0}
LENGTHS = [[2.0, 4.0], [8.0, 10.0], [6.0, 6.0], [12.0, 12.0]]
ACCURACY = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
REWARDS = [[1.0, 0.0], [0.0, 0.5], [1.0, 0.0], [1.0, 1.0]]


def group(index: int, lengths: list[float], accuracy: list[float], rewards: list[float]) -> RolloutGroup:
    rollouts = tuple(
        Rollout((3,) * int(size), (), False, "", Score(right, reward))
        for size, right, reward in zip(lengths, accuracy, rewards, strict=True)
    )
    return RolloutGroup(Prompt(str(index), "", (1,), ""), index, 7, rollouts)


def report(**changes: Any) -> CollectReport:
    """Four groups of which two are trained on, after one that was left over from an earlier iteration."""
    groups = [group(10 + place, *columns) for place, columns in enumerate(zip(LENGTHS, ACCURACY, REWARDS, strict=True))]
    carried = group(3, [5.0, 5.0], [0.0, 1.0], [0.0, 1.0])
    whole = CollectReport(
        plan=CollectPlan(iteration=7, train_groups=3, group_size=2, round_prompts=4),
        groups=[carried, *groups[:2]],
        own_groups=groups,
        stats=make_pool(LENGTHS, ACCURACY, rewards=REWARDS, first_index=10),
        decision=Decision(
            torch.tensor([True, True, False, True]), ["kept", "kept", "length_middle", "kept"], thresholds=BAND
        ),
        chosen=torch.tensor([True, True, False, False]),
        rounds=[],
        phases={},
        seconds=1.0,
        num_carried=1,
    )
    return replace(whole, **changes)


TOTALS = {"tokens": 60, "rollouts": 8, "seconds": 1.23456789, "cpu_seconds": float("nan")}


def test_a_row_worked_out_by_hand() -> None:
    row = iteration_row(report(), steps=14, totals=TOTALS, scale="none")
    lengths = row.pop("lengths")
    assert row == {
        "iteration": 7,
        "steps": 14,
        "tokens": 60,
        "rollouts": 8,
        "seconds": 1.23457,
        "groups": {"generated": 4, "kept": 3, "trained": 3, "carried": 1, "surplus": 1, "skipped": 0},
        "rounds": 0,
        "thresholds": BAND,
        "sides": {
            # Middle of the bounds: 6. Mean |reward - mean|: 0.5 of (1, 0), 0.25 of (0, 0.5).
            "short": {"groups": 1, "accuracy": 0.5, "reward": 0.5, "length": 3.0, "advantage": 0.5},
            "long": {"groups": 1, "accuracy": 0.5, "reward": 0.25, "length": 9.0, "advantage": 0.25},
        },
        # (2 + 10 + 6 + 12 + 12) / 5, and (4 + 8 + 6) / 3
        "right_length": 8.4,
        "wrong_length": 6.0,
    }
    # From 3 to 12 in twenty bins of 0.45: 3 is in the first, 6 in bin 6, 9 in bin 13, 12 in the last.
    assert (lengths["low"], lengths["high"]) == (3, 12)
    assert [place for place, count in enumerate(lengths["counts"]["kept"]) if count] == [0, 13, 19]
    assert [place for place, count in enumerate(lengths["counts"]["length_middle"]) if count] == [6]


def test_advantages_are_scaled_as_in_training() -> None:
    # Of (1, 0) and of (0, 0.5) alike: half the distance over its standard deviation, d/2 / (d / sqrt 2).
    sides = iteration_row(report(), steps=0, totals={})["sides"]
    assert sides["short"]["advantage"] == pytest.approx(0.5**0.5, rel=1e-4)
    assert sides["long"]["advantage"] == pytest.approx(0.5**0.5, rel=1e-4)
    apart = iteration_row(report(), steps=0, totals={}, baseline="leave_one_out", scale="none")["sides"]
    assert apart["short"]["advantage"] == 1.0


def test_what_is_not_there_is_left_out() -> None:
    without = report(
        decision=Decision(torch.tensor([True] * 4), ["kept"] * 4),
        stats=make_pool(LENGTHS, [[1.0, 1.0]] * 4, rewards=REWARDS, first_index=10),
    )
    row = iteration_row(without, steps=0, totals={})
    assert row.keys() == {"iteration", "steps", "groups", "rounds", "lengths", "right_length"}
    # A side without a group has no means.
    one_sided = report(groups=report().groups[:2])
    assert iteration_row(one_sided, steps=0, totals={})["sides"]["long"] == {"groups": 0}


def test_prompts_that_were_skipped() -> None:
    stats = make_pool(LENGTHS, ACCURACY, rewards=REWARDS)
    skipping = report(stats=replace(stats, draw_index=torch.tensor([10, 11, 14, 16])))
    assert iteration_row(skipping, steps=0, totals={})["groups"]["skipped"] == 3


def test_groups_of_one_response_have_no_advantage() -> None:
    def alone(index: int) -> RolloutGroup:
        return group(index, [2.0], [1.0], [1.0])

    single = report(
        groups=[alone(10)],
        num_carried=0,
        stats=make_pool([[2.0], [9.0], [6.0], [12.0]], first_index=10),
        chosen=torch.tensor([True, False, False, False]),
    )
    assert iteration_row(single, steps=0, totals={})["sides"]["short"] == {
        "groups": 1, "accuracy": 1.0, "reward": 1.0, "length": 2.0,
    }  # fmt: skip


def test_responses_that_are_left_of_a_group() -> None:
    row = iteration_row(
        report(groups=report().groups[1:], num_carried=0).downsampled(MaxVariance(2)), steps=0, totals={}
    )
    assert row["sides"]["short"]["groups"] == 1


def test_lengths_that_are_all_alike() -> None:
    assert histogram(torch.tensor([5.0, 5.0]), ["kept", "kept"], bins=2) == {
        "low": 5, "high": 6, "counts": {"kept": [2, 0]},
    }  # fmt: skip


def test_a_large_pool_fits_into_a_line() -> None:
    """2,000 groups by eight reasons with long names, and every number at its longest."""
    reasons = [f"reason_of_a_long_name_{number}" for number in range(8)]
    generator = torch.Generator().manual_seed(0)
    lengths = 1e4 * torch.rand(2000, 2, generator=generator, dtype=torch.float64)
    large = report(
        stats=make_pool(lengths.tolist(), first_index=10),
        decision=Decision(torch.ones(2000, dtype=torch.bool), [reasons[n % 8] for n in range(2000)], thresholds=BAND),
        chosen=torch.arange(2000) < 2,
    )
    totals = {"tokens": 10**12 + 1, "rollouts": 10**9 + 1, "seconds": 123456.7, "cpu_seconds": 7654321.1}
    row = iteration_row(large, steps=123456, totals=totals)
    assert len(line_of(row)) > MAX_BYTES
    fit = fitted(row)
    assert len(line_of(fit)) <= MAX_BYTES
    assert fit.keys() == row.keys()
    assert sum(sum(counts) for counts in fit["lengths"]["counts"].values()) == 2000
    assert len(fit["lengths"]["counts"][reasons[0]]) >= 5


def test_numbers_that_are_not_finite() -> None:
    assert plain({"a": float("inf"), "b": 10**15 + 1, "c": 1 / 3}) == {"b": 10**15 + 1, "c": 0.333333}
