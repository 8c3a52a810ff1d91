"""The settings of a datamodule by question: `Rounds`, `Batches` and `Evaluation`, their ranges, and what they make."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lspo.batching import BatchLayout
from lspo.collecting.plan import CollectPlan
from lspo.datamodules import Batches, Evaluation, RolloutDataModule, Rounds
from lspo.problems import RunningSumProblems
from lspo.rollout import Sampling
from lspo.testing import ScriptedReward


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Rounds, {"round_prompts": 0}, r"`rounds\.round_prompts` to be at least 1, but got 0\."),
        (Rounds, {"max_rounds": 0}, r"`rounds\.max_rounds` to be at least 1, but got 0\."),
        (Rounds, {"min_pool": -1}, r"`rounds\.min_pool` to be at least 0, but got -1\."),
        (Rounds, {"window_iterations": -1}, r"`rounds\.window_iterations` to be at least 0, but got -1\."),
        (Rounds, {"max_age": -1}, r"`rounds\.max_age` to be at least 0, but got -1\."),
        (Rounds, {"pool": "rounds"}, r"`rounds\.pool` to be one of iteration, round, window, but got 'rounds'\."),
        (Rounds, {"on_shortfall": "x"}, r"`rounds\.on_shortfall` to be one of raise, train, fill, but got 'x'\."),
        (Rounds, {"pool": "round"}, r"`rounds\.round_prompts` with rounds\.pool='round', .* but got None\."),
        (Batches, {"passes": 0}, r"`batches\.passes` to be at least 1, but got 0\."),
        (Batches, {"max_micro_batch_tokens": 0}, r"`batches\.max_micro_batch_tokens` to be at least 1, but got 0\."),
        (Batches, {"max_prompt_tokens": 0}, r"`batches\.max_prompt_tokens` to be at least 1, but got 0\."),
        (Batches, {"baseline": "median"}, r"`batches\.baseline` to be one of mean, leave_one_out, but got 'median'\."),
        (Batches, {"advantage_scale": None}, r"`batches\.advantage_scale` to be one of .*, but got None\."),
        (Batches, {"old_logprobs": "nobody"}, r"`batches\.old_logprobs` to be one of trainer, engine, but got"),
        (Evaluation, {"group_size": 0}, r"`evaluation\.group_size` to be at least 1, but got 0\."),
        (Evaluation, {"batch_prompts": 0}, r"`evaluation\.batch_prompts` to be at least 1, but got 0\."),
        (Evaluation, {"pass_at": [1, 0]}, r"each k in `evaluation\.pass_at` to be at least 1, but got \[1, 0\]\."),
    ],
)
def test_out_of_range_is_refused_by_the_name_to_type(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^Expected {message}"):
        kind(**settings)


@pytest.mark.parametrize("kind", [Rounds, Batches, Evaluation])
def test_they_are_frozen_and_without_slots(kind: Any) -> None:
    """jsonargparse, which reads their defaults, fails on slots."""
    assert not hasattr(kind, "__slots__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().anything = 1


def test_each_has_a_place_in_the_plan() -> None:
    given = Rounds(24, 3, 5, "window", 2, "fill", 1)
    sampling = Sampling(max_response_tokens=7)
    plan = given.plan(train_groups=8, group_size=4, sampling=sampling)
    assert plan == CollectPlan(
        iteration=0, train_groups=8, group_size=4, round_prompts=24, max_rounds=3, min_pool=5, pool="window",
        on_shortfall="fill", max_age=1, sampling=sampling, grow=False,
    )  # fmt: skip
    assert (given.adaptive, given.remembered_iterations) == (False, 2)
    open_size = Rounds(window_iterations=2)
    plan = open_size.plan(train_groups=8, group_size=4, sampling=sampling)
    assert (plan.round_prompts, plan.grow, open_size.adaptive, open_size.remembered_iterations) == (8, True, True, 0)


def test_each_has_a_place_in_the_layout() -> None:
    given = Batches(2, "leave_one_out", "batch", True, 100, 50, "engine")
    assert given.layout(train_groups=8, minibatch_groups=4) == BatchLayout(
        train_groups=8, minibatch_groups=4, passes=2, max_micro_batch_tokens=100, baseline="leave_one_out",
        scale="batch", mask_truncated=True,
    )  # fmt: skip


def test_the_datamodule_takes_them_from_python() -> None:
    rounds, evaluation = Rounds(max_rounds=20), Evaluation(group_size=4)
    data = RolloutDataModule(RunningSumProblems(4), ScriptedReward(), rounds=rounds, evaluation=evaluation)
    assert (data.rounds, data.batches, data.evaluation) == (rounds, Batches(), evaluation)
    assert data.max_age == 0
