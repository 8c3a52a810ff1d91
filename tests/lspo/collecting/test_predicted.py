"""A collection whose prompts are drawn by chance: weights in the pool, bounds that stay, draws that are noted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from lspo.collecting.collect import collect
from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport
from lspo.datamodules import PromptSource
from lspo.prediction import Predictor
from lspo.rollout import Sampling
from lspo.sampling import AccuracyBand, Chain, Decision, GroupSelector, GroupStats, KeepAll, LengthBand
from lspo.testing import ScriptedEngine, ScriptedReward
from lspo.types import Prompt

PROMPTS = [Prompt(f"p{number}", f"text {number}", (number + 2,), "") for number in range(200)]
LSPO = Chain(AccuracyBand(), LengthBand())


class Chances(Predictor):
    """Fixed chances by place."""

    def __init__(self, chances: Tensor, weighted: bool = True) -> None:
        self.chances, self.weighted = chances, weighted
        self.asked: list[tuple[GroupSelector, int]] = []

    def begin(self, num_prompts: int, group_size: int) -> None:
        pass

    def probability(self, places: Tensor, *, selector: GroupSelector, iteration: int) -> Tensor:
        self.asked.append((selector, iteration))
        return self.chances[places]

    def observe(self, places: Tensor, stats: GroupStats, decision: Decision, iteration: int) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


RANKS = torch.arange(200) * 7 % 200
"""Each prompt's place among all by length."""


def length(draw: int, sample: int) -> int:
    """By the prompt: 20 to 79 tokens, and a little more for the later responses."""
    return 20 + int(RANKS[draw % 200]) * 60 // 200 + sample


def run(predictor: Predictor | None, *, selector: GroupSelector = LSPO, **settings: Any) -> CollectReport:
    plan = CollectPlan(
        **{
            "iteration": 3, "train_groups": 60, "group_size": 4, "round_prompts": 400, "min_pool": 0, "max_rounds": 40,
            "sampling": Sampling(max_response_tokens=100), **settings,
        }
    )  # fmt: skip
    prompts = PromptSource(PROMPTS, shuffle=False)
    engine = ScriptedEngine(length, version=3)
    return collect(prompts, engine, ScriptedReward(), selector, plan, predictor=predictor)


LIKES_SHORT = torch.where(RANKS < 60, 1.0, 0.2).double()


def test_draws_and_groups_know_their_place_and_chance() -> None:
    report = run(Chances(LIKES_SHORT))
    assert [draw.draw_index for draw in report.draws] == report.stats.draw_index.tolist()
    for draw in report.draws:
        assert draw.place == draw.draw_index % 200
        assert draw.prompt is PROMPTS[draw.place]
        assert draw.probability == float(LIKES_SHORT[draw.place])
    for group in report.groups:
        assert (group.place, group.probability) == (
            group.draw_index % 200, float(LIKES_SHORT[group.draw_index % 200]),
        )  # fmt: skip
    weights = report.stats.each_weight
    assert weights.tolist() == [1 / draw.probability for draw in report.draws]


def test_a_predictor_that_is_wrong_moves_no_bound() -> None:
    """Of the groups drawn far too many are short; the bounds are those of all prompts, unless nothing is weighted."""
    plain = run(None).decision.thresholds
    weighted = run(Chances(LIKES_SHORT)).decision.thresholds
    unweighted = run(Chances(LIKES_SHORT, weighted=False)).decision.thresholds
    for name in ("length_low", "length_high", "length_max"):
        assert weighted[name] == pytest.approx(plain[name], abs=2.5)
    assert unweighted["length_high"] < plain["length_high"] - 10


def test_certain_chances_are_no_prediction() -> None:
    plain, certain = run(None), run(Chances(torch.ones(200, dtype=torch.float64)))
    assert [group.draw_index for group in certain.groups] == [group.draw_index for group in plain.groups]
    assert certain.decision.thresholds == plain.decision.thresholds
    assert certain.rounds[-1].pool_size == plain.rounds[-1].pool_size


def test_the_predictor_is_asked_of_the_selector_that_judges() -> None:
    class Swap:
        def on_collect_start(self, plan: CollectPlan) -> None:
            plan.selector = KeepAll()

        def on_group_end(self, *arguments: Any) -> None: ...
        def on_round_end(self, report: Any) -> None: ...
        def on_collect_end(self, report: Any) -> None: ...

    predictor = Chances(LIKES_SHORT)
    plan = CollectPlan(3, 8, 4, round_prompts=8, sampling=Sampling(max_response_tokens=100))
    collect(
        PromptSource(PROMPTS), ScriptedEngine(length, version=3), ScriptedReward(), LSPO, plan,
        listeners=[Swap()], predictor=predictor,
    )  # fmt: skip
    assert {(type(selector), iteration) for selector, iteration in predictor.asked} == {(KeepAll, 3)}


def test_the_least_pool_counts_what_the_groups_are_worth() -> None:
    """With weights of 1 and 5 a pool of 40 says as much as about 27 groups of one weight: more are generated."""
    settings: dict[str, Any] = {"train_groups": 4, "round_prompts": 20, "min_pool": 40}
    plain, weighted = run(None, **settings), run(Chances(LIKES_SHORT), **settings)
    assert plain.rounds[-1].pool_size >= 40
    assert weighted.rounds[-1].pool_size >= 40
    in_pool = weighted.decision.in_pool
    assert in_pool is not None
    assert int(in_pool.sum()) > 1.3 * weighted.rounds[-1].pool_size
    assert weighted.rounds[-2].pool_size < 40


def test_rules_that_no_weights_fit_are_refused_before_anything_is_generated() -> None:
    linear = Chain(AccuracyBand(), LengthBand(quantile="linear"))
    with pytest.raises(ValueError, match="Set `quantile='inverted_cdf'`, or leave out the predictor"):
        run(Chances(LIKES_SHORT), selector=linear)
    run(Chances(LIKES_SHORT, weighted=False), selector=linear)
