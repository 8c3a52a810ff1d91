from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.collecting.collect import CollectListener, StopCollecting, collect, slice_of
from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport, RoundReport
from lspo.datamodules.prompts import PromptSource
from lspo.held import is_here
from lspo.prediction import KeepPrediction
from lspo.rewards import Response, Reward
from lspo.rollout import RolloutEngine, Sampling
from lspo.sampling import AccuracyBand, Chain, Decision, GroupSelector, GroupStats, LengthBand
from lspo.testing import ListPrompts, ScriptedEngine, ScriptedResponse, ScriptedReward, hashed
from lspo.types import Prompt, RolloutGroup, Score

LSPO = Chain(AccuracyBand(), LengthBand())
SAMPLING = Sampling(max_response_tokens=100)
ENDLESS = 10**6  # never reached: every round is whole and the round limit ends the collection


def plan(**settings: Any) -> CollectPlan:
    return CollectPlan(
        **{
            "iteration": 0,
            "train_groups": 8,
            "group_size": 4,
            "round_prompts": 32,
            "min_pool": 0,
            "sampling": SAMPLING,
            **settings,
        }
    )


def run(asked: CollectPlan, *, selector: GroupSelector = LSPO, **settings: Any) -> CollectReport:
    pieces = {"prompts": ListPrompts(128), "engine": ScriptedEngine(), "reward": ScriptedReward(), **settings}
    return collect(selector=selector, plan=asked, **pieces)


def run_ranks(
    world_size: int, asked: CollectPlan, *, selector: GroupSelector = LSPO, **each: Callable[[], Any]
) -> list[CollectReport]:
    """The same collection on threads that meet at a barrier, each with an engine and prompts of its own.

    `each` makes further pieces of a rank.
    """
    barrier = threading.Barrier(world_size, timeout=30)
    slots: list[Any] = [None] * world_size

    def gather_at(rank: int) -> Callable[[Any], list[Any]]:
        def gather(item: Any) -> list[Any]:
            slots[rank] = item
            barrier.wait()
            items = list(slots)
            barrier.wait()
            return items

        return gather

    def work(rank: int) -> CollectReport:
        try:
            own = {name: make() for name, make in each.items()}
            return run(
                replace(asked), selector=selector, gather=gather_at(rank), rank=rank, world_size=world_size, **own
            )
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(world_size) as pool:
        return list(pool.map(work, range(world_size)))


def outcome(report: CollectReport) -> dict[str, Any]:
    """All that must not depend on how the collection was cut, and that every rank knows."""
    return {
        "groups": [(group.draw_index, group.prompt, group.version, group.temperature) for group in report.groups],
        "known": [
            [(one.num_tokens, one.num_nonfinite, one.truncated, one.score) for one in group.rollouts]
            for group in report.groups
        ],
        "draws": report.stats.draw_index.tolist(),
        "keep": report.decision.keep.tolist(),
        "chosen": report.chosen.tolist(),
        "reasons": report.decision.reasons,
        "thresholds": report.decision.thresholds,
    }


@dataclass
class CutPlan(CollectPlan):
    """Rounds of given sizes."""

    sizes: tuple[int, ...] = ()

    def next_round(self, rounds: Sequence[Any]) -> int:
        return self.sizes[len(rounds)]


def cut_plan(sizes: Sequence[int], **settings: Any) -> CutPlan:
    base = {
        "iteration": 0, "train_groups": ENDLESS, "group_size": 4, "round_prompts": 1, "min_pool": 0,
        "sampling": SAMPLING, "on_shortfall": "train", "max_rounds": len(sizes), "sizes": tuple(sizes),
    }  # fmt: skip
    return CutPlan(**{**base, **settings})


# --- contract 3: selection does not depend on how rollouts were cut


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 15), min_size=1, max_size=5))
def test_rounds_of_any_sizes_keep_the_same_groups(sizes: list[int]) -> None:
    assert outcome(run(cut_plan(sizes))) == outcome(run(cut_plan([sum(sizes)])))


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(48,), (24, 24), (7, 1, 40), (2, 46)])
def test_ranks_and_rounds_keep_the_same_groups(world_size: int, sizes: tuple[int, ...]) -> None:
    whole = run(cut_plan([48]))
    assert len(whole.groups) > 8
    reports = run_ranks(world_size, cut_plan(sizes))
    for report in reports:  # every rank knows all that is trained on
        assert outcome(report) == outcome(whole)
    # What is trained on is whole on the rank that wrote it, and there alone.
    here = [group for report in reports for group in report.groups if is_here(group)]
    assert sorted(here, key=lambda group: group.draw_index) == whole.groups
    for rank, report in enumerate(reports):
        holders = {one.holder for group in report.groups if not is_here(group) for one in group.rollouts}  # type: ignore[attr-defined]
        assert holders == set(range(world_size)) - {rank}
    # Each group was written on one rank: a round's slices are disjoint and cover it.
    written = [group.draw_index for report in reports for group in report.own_groups]
    assert sorted(written) == list(range(48))


def test_ranks_without_a_prompt_take_part() -> None:
    reports = run_ranks(3, cut_plan([1, 1]))
    assert [len(report.own_groups) for report in reports] == [2, 0, 0]
    assert outcome(reports[2]) == outcome(run(cut_plan([2])))


@pytest.mark.parametrize("world_size", [1, 3])
def test_ranks_end_alike_when_enough_is_kept(world_size: int) -> None:
    asked = plan(train_groups=20)
    alone = run(asked)
    for report in run_ranks(world_size, asked):
        assert outcome(report) == outcome(alone)
        assert len(report.groups) == 20
        assert len(report.rounds) == len(alone.rounds) > 1


def test_slices_are_contiguous_and_cover() -> None:
    assert [slice_of(7, rank, 3) for rank in range(3)] == [slice(0, 3), slice(3, 5), slice(5, 7)]


def test_a_group_kept_early_may_leave_and_a_rejected_one_enter() -> None:
    # The example of test_pool, through the whole loop: 30 and 40 leave, 20 enters.
    seen: list[list[str]] = []

    class Watch(Listener):
        def on_round_end(self, report: RoundReport) -> None:
            seen.append([str(int(length)) for length in report.stats.lengths[:, 0].tolist()])
            kept.append(report.kept)

    kept: list[int] = []
    report = run(
        cut_plan([4, 4]),
        selector=LengthBand(low=0.25, high=0.75, max=None),
        engine=ScriptedEngine(lambda draw, sample: 10 * (draw + 1)),
        listeners=[Watch()],
    )
    assert seen == [["10", "20", "30", "40"], ["50", "60", "70", "80"]]
    assert kept == [3, 5]
    assert [group.rollouts[0].num_tokens for group in report.groups] == [10, 20, 60, 70, 80]


# --- contract 5: no length bias


class InOrder(ScriptedEngine):
    """Finishes its groups in an order of one's own choice."""

    def __init__(self, key: Callable[[RolloutGroup], Any]) -> None:
        super().__init__()
        self.key = key

    def generate(
        self, prompts: Sequence[Prompt], *, group_size: int, sampling: Sampling, keys: Sequence[int]
    ) -> Iterator[RolloutGroup]:
        groups = super().generate(prompts, group_size=group_size, sampling=sampling, keys=keys)
        yield from sorted(groups, key=self.key)


@pytest.mark.parametrize("reward_batch_groups", [1, 3, 1000])
def test_the_order_of_finishing_does_not_matter(reward_batch_groups: int) -> None:
    asked = plan(train_groups=5, min_pool=10, reward_batch_groups=reward_batch_groups)
    first = run(plan(train_groups=5, min_pool=10))
    orders = [
        lambda group: group.draw_index,
        lambda group: -group.draw_index,
        lambda group: hashed(group.draw_index),
        lambda group: -group.num_tokens,
    ]
    for key in orders:
        assert outcome(run(asked, engine=InOrder(key))) == outcome(first)


def test_nothing_is_judged_before_the_round_is_over() -> None:
    sizes = []

    class Watch(GroupSelector):
        def decide(self, pool: GroupStats, iteration: int) -> Decision:
            sizes.append(len(pool))
            return LSPO.decide(pool, iteration)

    run(cut_plan([5, 7, 4], reward_batch_groups=2), selector=Watch())
    assert sizes == [5, 12, 16]


# --- when a collection ends


def test_surplus_is_cut_in_draw_order() -> None:
    whole = run(cut_plan([40]))
    kept = [group.draw_index for group in whole.groups]
    report = run(plan(train_groups=5, round_prompts=40))
    assert [group.draw_index for group in report.groups] == kept[:5]
    assert report.num_surplus == len(kept) - 5
    assert report.num_filled == 0


def test_nothing_is_decided_below_min_pool() -> None:
    report = run(plan(train_groups=2, round_prompts=8, min_pool=40))
    pools = [each.pool_size for each in report.rounds]
    assert [each.decided for each in report.rounds] == [size >= 40 for size in pools]
    assert pools[-2] < 40 <= pools[-1]
    assert report.rounds[0].kept >= 2  # enough, but of a pool whose quantiles say nothing
    assert len(report.groups) == 2


def test_the_next_round_asks_for_what_is_missing() -> None:
    engine = ScriptedEngine()
    report = run(plan(train_groups=20), engine=engine)
    assert len(engine.calls) == len(report.rounds) > 1
    first = report.rounds[0]
    expected = -(-(20 - first.kept) * 32 * 5 // (first.kept * 4))  # missing / yield * 1.25, rounded up
    assert len(engine.calls[1].keys) == max(expected, 4) < 32
    draws = [key for call in engine.calls for key in call.keys]
    assert draws == list(range(len(draws)))


@pytest.mark.parametrize(
    ("policy", "draws"),
    [
        ("train", [0, 2, 5]),
        ("fill", [0, 1, 2, 4, 5]),  # 31 first; then, of the 30s, the one drawn first; never the all-wrong one
    ],
)
def test_the_round_limit_without_enough(policy: str, draws: list[int]) -> None:
    # As in test_pool: the bounds are 10 and 50.
    lengths = [50, 30, 10, 30, 31, 10, 30]
    engine = ScriptedEngine(lambda draw, sample: ScriptedResponse(lengths[draw], "right" if sample == 0 else "wrong"))
    reward = ScriptedReward(lambda response: response.prompt.id != "prompt-6" and response.text == "right")
    asked = cut_plan([3, 4], train_groups=5, on_shortfall=policy)
    narrow = Chain(AccuracyBand(), LengthBand(low=0.3, high=0.9))
    report = run(asked, selector=narrow, engine=engine, reward=reward)
    assert [group.draw_index for group in report.groups] == draws
    assert report.num_filled == len(draws) - 3
    assert report.num_surplus == 0
    with pytest.raises(RuntimeError, match=r"3 of 5 groups were kept in 2 rounds \(7 prompts: 43% kept"):
        run(replace(asked, on_shortfall="raise"), selector=narrow, engine=engine, reward=reward)


@pytest.mark.parametrize("policy", ["train", "fill"])
@pytest.mark.parametrize("pool", ["iteration", "round", "window"])
def test_a_pool_too_small_to_the_last_is_trained_on_by_its_own_bounds(pool: str, policy: str) -> None:
    asked = plan(pool=pool, on_shortfall=policy, min_pool=1000, train_groups=5, max_rounds=1)
    report = run(replace(asked))
    own = LSPO.decide(report.stats, 0)
    assert int(own.keep.sum()) >= 5
    assert report.decision.reasons == own.reasons
    assert report.chosen.tolist() == (own.keep & (own.keep.cumsum(0) <= 5)).tolist()
    assert (report.num_undecided, report.num_filled, report.rounds[0].decided) == (5, 0, False)
    assert run(replace(asked, min_pool=0)).num_undecided == 0
    with pytest.raises(RuntimeError, match=r"below rounds\.min_pool=1000"):
        run(replace(asked, on_shortfall="raise"))


def test_of_several_rounds_those_too_small_are_released_at_the_limit() -> None:
    asked = cut_plan([4, 30, 6], pool="round", min_pool=8, train_groups=ENDLESS)
    report = run(asked)
    expected: list[bool] = []
    for each in report.rounds:
        expected += LSPO.decide(each.stats, 0).keep.tolist()
    assert report.chosen.tolist() == expected
    assert report.undecided is not None
    assert report.undecided.tolist() == [True] * 4 + [False] * 30 + [True] * 6
    assert report.num_undecided == sum(expected[:4] + expected[34:])
    # Till then they do not count: a further round is made.
    assert [each.kept for each in report.rounds] == [0, sum(expected[4:34]), sum(expected[4:34])]
    assert [each.decided for each in report.rounds] == [False, True, True]


def test_all_wrong_at_the_round_limit_names_the_numbers() -> None:
    with pytest.raises(RuntimeError, match=r"No group was kept in 3 rounds \(96 prompts: 100% all wrong\)"):
        run(plan(max_rounds=3, on_shortfall="fill"), reward=ScriptedReward(lambda response: False))


# --- scopes of the pool


def test_each_round_by_itself() -> None:
    report = run(cut_plan([10, 20, 5], pool="round"))
    expected: list[bool] = []
    for each in report.rounds:
        expected += LSPO.decide(each.stats, 0).keep.tolist()
    assert report.decision.keep.tolist() == expected
    assert report.decision.keep.tolist() != LSPO.decide(report.stats, 0).keep.tolist()


def test_rounds_that_are_pools_do_not_shrink() -> None:
    engine = ScriptedEngine()
    run(plan(train_groups=20, pool="round"), engine=engine)
    assert [len(call.keys) for call in engine.calls] == [32, 32]


def test_a_window_counts_earlier_iterations() -> None:
    history = run(cut_plan([30])).stats
    prompts = ListPrompts(128, position=30)
    report = run(cut_plan([10], pool="window", min_pool=8), prompts=prompts, history=history)
    both = GroupStats.concatenate([history, report.stats])
    assert report.decision.keep.tolist() == LSPO.decide(both, 0).keep[30:].tolist()
    assert report.stats.draw_index.tolist() == list(range(30, 40))
    assert report.rounds[0].pool_size == LSPO.decide(both, 0).pool_size
    without = run(cut_plan([10]), prompts=ListPrompts(128, position=30), history=history)
    assert without.decision.keep.tolist() == LSPO.decide(without.stats, 0).keep.tolist()


# --- contract 1: on-policy


def test_a_window_does_not_count_as_yield() -> None:
    """Ten groups of an earlier iteration, of the 20 that the pool needs: what is missing is asked for at once."""
    history = run(plan(max_rounds=1, train_groups=1, round_prompts=20)).stats
    history = history.where(AccuracyBand().decide(history, 0).keep)
    need = len(history) + 16
    asked = plan(pool="window", min_pool=need, round_prompts=16, train_groups=1, max_rounds=9)
    first, second = run(asked, history=history).rounds[:2]
    assert first.pool_size is not None
    assert first.history_size == len(history)
    own = first.pool_size - len(history)
    assert 0 < own < 16
    assert second.num_groups == min(16, -(-(16 - own) * 16 * 5 // (own * 4)))


@pytest.mark.parametrize(
    ("iteration", "version", "max_age", "fits"),
    [(3, 3, 0, True), (3, 2, 0, False), (3, 2, 1, True), (3, 1, 1, False), (3, 4, 5, False), (0, -1, 0, False)],
)
def test_only_rollouts_of_the_right_weights_are_taken(iteration: int, version: int, max_age: int, fits: bool) -> None:
    asked = plan(iteration=iteration, max_age=max_age)
    engine = ScriptedEngine(version=version)
    if fits:
        assert {group.version for group in run(asked, engine=engine).groups} == {version}
        return
    message = rf"at most max_age={max_age} iterations old in iteration {iteration}, .* written by version {version}\."
    with pytest.raises(RuntimeError, match=message):
        run(asked, engine=engine)


# --- what engines do wrong


class Faulty(ScriptedEngine):
    def __init__(self, spoil: Callable[[list[RolloutGroup]], list[RolloutGroup]]) -> None:
        super().__init__()
        self.spoil = spoil

    def generate(
        self, prompts: Sequence[Prompt], *, group_size: int, sampling: Sampling, keys: Sequence[int]
    ) -> Iterator[RolloutGroup]:
        yield from self.spoil(list(super().generate(prompts, group_size=group_size, sampling=sampling, keys=keys)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda groups: groups[1:], r"Faulty to return one group for each of 32 prompts, but got 31\. .*\[\d+\]"),
        (lambda groups: [*groups, groups[0]], "each of 32 prompts, but got 33"),
        (lambda groups: [groups[1], *groups[1:]], r"each of 32 prompts, but got 32\. Draws missing .*: \[\d+\]"),
        (lambda groups: [replace(groups[0], draw_index=99), *groups[1:]], r"not asked for: \[\d+, 99\]"),
        (
            lambda groups: [replace(groups[0], rollouts=groups[0].rollouts[:3]), *groups[1:]],
            r"group_size=4 responses for each prompt, but got 3 for prompt prompt-\d+",
        ),
    ],
)
def test_groups_that_were_not_asked_for(
    spoil: Callable[[list[RolloutGroup]], list[RolloutGroup]], message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        run(plan(), engine=Faulty(spoil))


# --- rewards: scores, shaping, counters


def test_filters_read_accuracy_and_groups_carry_the_shaped_reward() -> None:
    # Contract 6: all wrong, yet the shaped rewards spread, and some are nearer 1 than 0.
    def shaped(response: Response) -> Score:
        right = response.prompt.id in ("prompt-0", "prompt-1") and response.num_tokens % 2 == 0
        return Score(accuracy=float(right), reward=float(right) + 0.3 * (response.num_tokens % 3))

    engine = ScriptedEngine(lambda draw, sample: 10 + sample)
    asked = cut_plan([6])
    report = run(asked, selector=AccuracyBand(), engine=engine, reward=ScriptedReward(shaped))
    assert report.decision.reasons == ["kept"] * 2 + ["all_wrong"] * 4
    assert [score.accuracy for score in report.groups[0].scores] == [1.0, 0.0, 1.0, 0.0]
    assert [score.reward for score in report.groups[0].scores] == pytest.approx([1.3, 0.6, 1.0, 0.3])
    assert report.stats.rewards[5].tolist() == pytest.approx([0.3, 0.6, 0.0, 0.3])


class Counting(Reward):
    """Counts what it scored, and forgets when it is asked, as rewards do."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def score_batch(self, responses: Sequence[Response]) -> list[Score | float | bool]:
        self.batches.append(len(responses))
        return [response.num_tokens % 2 == 0 for response in responses]

    def metrics(self) -> dict[str, float]:
        counters = {"reward/scored": float(sum(self.batches))}
        self.batches = []
        return counters


def test_scores_while_others_are_being_written_and_reports_counters() -> None:
    reward = Counting()
    report = run(cut_plan([10, 6], reward_batch_groups=4), reward=reward)
    assert [each.reward_metrics for each in report.rounds] == [{"reward/scored": 40.0}, {"reward/scored": 24.0}]

    class Watch(Listener):
        def on_group_end(self, done: int, drawn: int) -> None:
            assert reward.batches == [16] * (done // 4) + [8] * (done == 10)
            progress.append((done, drawn))

    progress: list[tuple[int, int]] = []
    run(cut_plan([10], reward_batch_groups=4), reward=reward, listeners=[Watch()])
    assert progress == [(4, 10), (8, 10), (10, 10)]


def test_counters_of_all_ranks_are_added() -> None:
    def gather(item: Any) -> list[Any]:
        if not isinstance(item, tuple):
            return [item]
        return [item, item._replace(reward={"reward/scored": 2.0, "reward/late": 1.0}, nonfinite=3)]

    report = run(cut_plan([3]), reward=Counting(), gather=gather)
    assert report.rounds[0].nonfinite_tokens == 3
    assert report.rounds[0].reward_metrics == {"reward/scored": 14.0, "reward/late": 1.0}


class InParts(Counting):
    def score_batch(self, responses: Sequence[Response]) -> list[Score | float | bool]:
        scores = [Score.of(verdict) for verdict in super().score_batch(responses)]
        return [
            replace(score, parts={"length": float(one.num_tokens)})
            for score, one in zip(scores, responses, strict=True)
        ]


def test_parts_of_the_reward_are_means_over_all_ranks() -> None:
    def gather(item: Any) -> list[Any]:
        if not isinstance(item, tuple):
            return [item]
        return [item, item._replace(parts={"length": (60.0, 12), "other": (1.0, 4)})]

    report = run(cut_plan([3]), reward=InParts(), gather=gather)
    lengths = [rollout.num_tokens for group in report.own_groups for rollout in group.rollouts]
    assert len(lengths) == 12
    assert sum(lengths) != 60
    assert report.rounds[0].reward_parts == {"length": (sum(lengths) + 60) / 24, "other": 0.25}
    assert report.rounds[0].reward_part_counts == {"length": 24, "other": 4}


# --- listeners


class Listener(CollectListener):
    def on_collect_start(self, plan: CollectPlan) -> None:
        pass

    def on_group_end(self, done: int, drawn: int) -> None:
        pass

    def on_round_end(self, report: RoundReport) -> None:
        pass

    def on_collect_end(self, report: CollectReport) -> None:
        pass


def test_listeners_are_told_in_order_and_may_change_the_plan() -> None:
    told: list[Any] = []

    class Watch(Listener):
        def on_collect_start(self, plan: CollectPlan) -> None:
            told.append("start")
            plan.round_prompts = 6
            plan.train_groups = ENDLESS
            plan.max_rounds = 2
            plan.on_shortfall = "train"
            plan.selector = AccuracyBand()

        def on_round_end(self, report: RoundReport) -> None:
            told.append((report.number, report.num_groups, report.pool_groups, report.wanted))

        def on_collect_end(self, report: CollectReport) -> None:
            told.append("end")

    report = run(plan(), listeners=[Watch()])
    assert told == ["start", (0, 6, 6, ENDLESS), (1, 6, 12, ENDLESS), "end"]
    assert set(report.decision.reasons) <= {"kept", "all_wrong", "all_right"}  # the plan's selector, not LSPO


def test_a_listener_may_stop_the_run() -> None:
    class Stop(Listener):
        def on_round_end(self, report: RoundReport) -> None:
            raise StopCollecting

    with pytest.raises(StopCollecting):
        run(plan(), listeners=[Stop()])


# --- what is reported


def test_statistics_are_those_of_the_rollouts() -> None:
    report = run(cut_plan([9, 3]))
    by_draw = {group.draw_index: group for group in report.own_groups}
    assert report.stats.draw_index.tolist() == list(range(12))
    for row, index in enumerate(report.stats.draw_index.tolist()):
        group = by_draw[index]
        assert report.stats.prompt_ids[row] == group.prompt.id
        assert report.stats.lengths[row].tolist() == [len(rollout.token_ids) for rollout in group.rollouts]
        assert report.stats.truncated[row].tolist() == [rollout.truncated for rollout in group.rollouts]
        assert report.stats.accuracy[row].tolist() == [score.accuracy for score in group.scores]
        assert report.stats.rewards[row].tolist() == [score.reward for score in group.scores]
    assert report.num_tokens == sum(group.num_tokens for group in report.own_groups)
    assert sum(each.num_tokens for each in report.rounds) == report.num_tokens
    assert sum(report.rounds[-1].reasons.values()) == 12
    assert set(report.phases) == {"sync", "generate", "reward", "select"}
    assert all(seconds >= 0 for seconds in report.phases.values())
    assert report.seconds >= sum(report.phases.values()) - 1e-6


def test_what_the_engine_is_asked() -> None:
    engine = ScriptedEngine()
    report = run(cut_plan([3, 2]), engine=engine, prompts=ListPrompts(4, position=2))
    assert [call.keys for call in engine.calls] == [(2, 3, 4), (5, 6)]
    assert [[prompt.id for prompt in call.prompts] for call in engine.calls] == [
        ["prompt-2", "prompt-3", "prompt-0"],
        ["prompt-1", "prompt-2"],
    ]
    assert {(call.group_size, call.sampling) for call in engine.calls} == {(4, SAMPLING)}
    assert isinstance(engine, RolloutEngine)
    assert report.stats.prompt_ids == ["prompt-2", "prompt-3", "prompt-0", "prompt-1", "prompt-2"]


# --- with a predictor


def experienced() -> KeepPrediction:
    """It has seen half of the prompts, of which some are never mixed."""
    predictor = KeepPrediction()
    predictor.begin(128, 4)
    right = torch.arange(64)[:, None] % 5 > torch.arange(4)
    tokens = (10.0 + torch.arange(64, dtype=torch.float64))[:, None].expand(64, 4)
    stats = GroupStats(
        torch.arange(64), [""] * 64, tokens, right.double(), right.double(), torch.zeros(64, 4, dtype=torch.bool)
    )
    predictor.observe(torch.arange(64), stats, LSPO.decide(stats, 0), 0)
    return predictor


def source() -> PromptSource:
    return PromptSource(ListPrompts(128).prompts, seed=3)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_prediction_is_alike_on_all_ranks(world_size: int) -> None:
    asked = plan(iteration=1, train_groups=16)
    whole = run(replace(asked), prompts=source(), predictor=experienced(), engine=ScriptedEngine(version=1))
    chances = [draw.probability for draw in whole.draws]
    assert min(chances) < 0.5
    assert [draw.draw_index for draw in whole.draws] == whole.stats.draw_index.tolist()
    assert whole.stats.weights is not None
    assert whole.stats.weights.tolist() == [1 / chance for chance in chances]
    reports = run_ranks(
        world_size, asked, prompts=source, predictor=experienced, engine=lambda: ScriptedEngine(version=1)
    )
    for report in reports:
        assert outcome(report) == outcome(whole)
        assert report.draws == whole.draws
        for group in report.groups:
            drawn = next(draw for draw in whole.draws if draw.draw_index == group.draw_index)
            assert (group.place, group.probability) == (drawn.place, drawn.probability)
