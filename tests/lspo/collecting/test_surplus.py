"""Groups that were kept but not needed, and what a later collection makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from lspo.collecting.collect import collect
from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport
from lspo.rollout import Sampling
from lspo.sampling import AccuracyBand, Chain, GroupSelector, LengthBand
from lspo.testing import ListPrompts, ScriptedEngine, ScriptedReward
from lspo.types import RolloutGroup

LSPO = Chain(AccuracyBand(), LengthBand())


def run(
    carried: list[RolloutGroup] | None = None, *, position: int = 0, selector: GroupSelector = LSPO, **settings: Any
) -> CollectReport:
    asked: dict[str, Any] = {
        "iteration": 0, "train_groups": 4, "group_size": 4, "round_prompts": 32, "min_pool": 0,
        "sampling": Sampling(max_response_tokens=100),
    }  # fmt: skip
    plan = CollectPlan(**{**asked, **settings})
    engine = ScriptedEngine(version=plan.iteration)
    prompts = ListPrompts(128, position=position)
    return collect(prompts, engine, ScriptedReward(), selector, plan, carried=carried or [])


def draws(groups: list[RolloutGroup]) -> list[int]:
    return [group.draw_index for group in groups]


def test_surplus_is_dropped_and_counted_unless_it_may_be_used() -> None:
    report = run()
    assert report.num_surplus > 0
    assert report.surplus == []


def test_surplus_is_what_was_kept_behind_the_last_place() -> None:
    report = run(max_age=1)
    kept = report.stats.draw_index[report.decision.keep].tolist()
    assert draws(report.groups) == kept[:4]
    assert draws(report.surplus) == kept[4:]
    assert len(report.surplus) == report.num_surplus


def test_carried_groups_are_trained_on_first_and_the_missing_ones_are_collected() -> None:
    carried = run(max_age=2).surplus[:3]
    report = run(carried, position=32, iteration=1, max_age=2)
    assert report.groups[:3] == carried
    assert report.num_carried == 3
    assert draws(report.groups)[3:] == report.stats.draw_index[report.decision.keep].tolist()[:1]
    assert report.rounds[-1].wanted == 1


def test_one_place_at_least_is_for_a_fresh_group_and_the_rest_waits() -> None:
    carried = run(max_age=2, round_prompts=64).surplus
    assert len(carried) > 4
    report = run(carried, position=64, iteration=1, max_age=2)
    assert report.groups[:3] == carried[:3]
    assert report.groups[3].version == 1
    assert report.surplus[: len(carried) - 3] == carried[3:]


def test_what_is_too_old_is_dropped_and_counted() -> None:
    carried = run(max_age=1).surplus
    report = run(carried, position=32, iteration=2, max_age=1)
    assert report.num_carried == 0
    assert report.num_expired == len(carried)
    assert not set(draws(carried)) & set(draws([*report.groups, *report.surplus]))


def test_carried_groups_do_not_count_towards_bounds() -> None:
    carried = run(max_age=1).surplus
    with_them = run(carried, position=32, iteration=1, max_age=1)
    without = run(position=32, iteration=1, max_age=1)
    assert with_them.decision.thresholds == without.decision.thresholds
    assert with_them.stats.draw_index.tolist() == without.stats.draw_index.tolist()


def test_carried_groups_save_rounds() -> None:
    """Seven groups of eight are mixed: 26 prompts are not enough for 30 groups, and are for 20."""
    carried = run(selector=AccuracyBand(), max_age=1, round_prompts=32).surplus[:10]
    assert len(carried) == 10
    asked: dict[str, Any] = {"selector": AccuracyBand(), "position": 32, "iteration": 1, "max_age": 1}
    with_them = run(carried, train_groups=30, round_prompts=26, **asked)
    without = run(train_groups=30, round_prompts=26, **asked)
    assert len(with_them.rounds) == 1 < len(without.rounds)
    assert len(with_them.groups) == len(without.groups) == 30


def test_at_the_round_limit_carried_groups_are_something_to_train_on() -> None:
    class Nothing(AccuracyBand):
        def decide(self, pool: Any, iteration: int) -> Any:
            decision = super().decide(pool, iteration)
            decision.keep[:] = False
            return decision

    carried = run(max_age=1).surplus[:2]
    report = run(carried, selector=Nothing(), position=32, iteration=1, max_age=1, max_rounds=1, on_shortfall="train")
    assert report.groups == carried
    with pytest.raises(RuntimeError, match="No group was kept in 1 rounds"):
        run(selector=Nothing(), max_rounds=1, on_shortfall="train")
