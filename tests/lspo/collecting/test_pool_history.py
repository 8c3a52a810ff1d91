"""Pools of earlier iterations: how many are kept, what of them, and their state."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lspo.collecting.plan import CollectPlan
from lspo.collecting.pool_history import PoolHistory
from lspo.collecting.report import CollectReport
from lspo.sampling import AccuracyBand, Chain, GroupSelector, GroupStats, LengthBand
from lspo.testing import make_pool


def report(iteration: int, *, selector: GroupSelector | None = None) -> CollectReport:
    """Four groups; the last is all wrong, and so not in the pool of a length band behind an accuracy band."""
    stats = make_pool(
        [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]],
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]],
        first_index=4 * iteration,
    )
    selector = selector or Chain(AccuracyBand(), LengthBand())
    decision = selector.decide(stats, iteration)
    return CollectReport(
        plan=CollectPlan(iteration=iteration, train_groups=1, group_size=2, round_prompts=4),
        groups=[],
        own_groups=[],
        stats=stats,
        decision=decision,
        chosen=decision.keep,
        rounds=[],
        phases={},
        seconds=0.0,
    )


def draws(history: PoolHistory) -> list[int]:
    stats = history.stats
    return [] if stats is None else stats.draw_index.tolist()


def assert_same_stats(one: GroupStats | None, other: GroupStats | None) -> None:
    assert one is not None
    assert other is not None
    assert list(one.prompt_ids) == list(other.prompt_ids)
    for name in ("draw_index", "lengths", "accuracy", "rewards", "truncated"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_the_last_iterations_are_kept_and_of_them_the_pool() -> None:
    history = PoolHistory(2)
    assert history.stats is None
    for iteration, expected in enumerate([[0, 1, 2], [0, 1, 2, 4, 5, 6], [4, 5, 6, 8, 9, 10]]):
        history.add(report(iteration))
        assert draws(history) == expected


def test_without_iterations_nothing_is_kept() -> None:
    history = PoolHistory(0)
    history.add(report(0))
    assert history.stats is None
    assert history.state_dict() == []


def test_a_rule_that_is_not_relative_has_no_pool() -> None:
    history = PoolHistory(2)
    history.add(report(0, selector=AccuracyBand()))
    assert history.stats is None


@pytest.mark.parametrize("done", [0, 1, 2, 5])
def test_state(done: int, tmp_path: Path) -> None:
    unbroken, fresh = PoolHistory(3), PoolHistory(3)
    for iteration in range(done):
        unbroken.add(report(iteration))
    torch.save(unbroken.state_dict(), tmp_path / "state.pt")
    fresh.add(report(77))  # What it held before is gone.
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for iteration in range(done, done + 4):
        unbroken.add(report(iteration))
        fresh.add(report(iteration))
        assert_same_stats(fresh.stats, unbroken.stats)


def test_state_of_a_longer_history_keeps_the_latest() -> None:
    long, short = PoolHistory(4), PoolHistory(1)
    for iteration in range(4):
        long.add(report(iteration))
    short.load_state_dict(long.state_dict())
    assert draws(short) == [12, 13, 14]
