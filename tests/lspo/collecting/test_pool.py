from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.collecting.plan import CollectPlan
from lspo.collecting.pool import judge, shortfall_fill
from lspo.sampling import AccuracyBand, Chain, Decision, GroupSelector, GroupStats, LengthBand
from lspo.testing import hashed, make_pool

LSPO = Chain(AccuracyBand(), LengthBand())
RIGHT, WRONG = [1.0, 0.0], [0.0, 0.0]


@dataclass
class Round:
    """What the message at the limit counts."""

    num_groups: int = 7
    kept: int = 3
    pool_size: int | None = None
    history_size: int = 0


def plan(**settings: Any) -> CollectPlan:
    return CollectPlan(
        **{"iteration": 0, "train_groups": 4, "group_size": 2, "round_prompts": 8, "min_pool": 0, **settings}
    )


def random_pool(groups: int, seed: int = 0, first_index: int = 0) -> GroupStats:
    """About half the groups have a mixed accuracy; lengths have ties."""

    def number(place: int, sample: int, below: int) -> float:
        return float(hashed(seed, place, sample, below) % below)

    lengths = [[1 + number(place, sample, 30) for sample in range(2)] for place in range(groups)]
    accuracy = [[number(place, sample, 2) for sample in range(2)] for place in range(groups)]
    return make_pool(lengths, accuracy, first_index=first_index)


def cut(pool: GroupStats, sizes: list[int]) -> list[GroupStats]:
    """The pool in rounds of these sizes, and what is left in a last one."""
    parts, start = [], 0
    for size in [*sizes, len(pool)]:
        mask = torch.zeros(len(pool), dtype=torch.bool)
        mask[start : start + size] = True
        parts.append(pool.where(mask))
        start += size
    return parts


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 999), st.integers(1, 40), st.lists(st.integers(0, 12), max_size=6))
def test_a_decision_does_not_depend_on_the_cut(seed: int, groups: int, sizes: list[int]) -> None:
    # Contract 3.
    pool = random_pool(groups, seed)
    whole, pieces = judge([pool], LSPO, plan()), judge(cut(pool, sizes), LSPO, plan())
    assert torch.equal(pieces.stats.draw_index, pool.draw_index)
    assert torch.equal(pieces.decision.keep, whole.decision.keep)
    assert torch.equal(pieces.decision.keep, LSPO.decide(pool, 0).keep)
    assert pieces.decision.reasons == whole.decision.reasons
    assert pieces.pool_size == whole.pool_size


def test_a_later_round_lets_one_enter_and_makes_others_leave() -> None:
    # First 10, 20, 30, 40: the first quarter ends at 10, the last begins at 30. With 50, 60, 70, 80 the first quarter
    # is 10 and 20, and the last begins at 60: 20 enters; 30 and 40 leave.
    band = LengthBand(low=0.25, high=0.75, max=None)
    rounds = [make_pool([[tens * 10.0] * 2 for tens in part]) for part in (range(1, 5), range(5, 9))]
    first, second = judge(rounds[:1], band, plan()), judge(rounds, band, plan())
    assert first.decision.keep.tolist() == [True, False, True, True]
    assert second.decision.keep.tolist() == [True, True, False, False, False, True, True, True]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 999), st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(0, 8))
def test_rounds_by_themselves_equal_the_rule_round_by_round(seed: int, sizes: list[int], min_pool: int) -> None:
    rounds = [random_pool(size, seed + place) for place, size in enumerate(sizes)]
    judged = judge(rounds, LSPO, plan(pool="round", min_pool=min_pool))
    expected: list[bool] = []
    for stats in rounds:
        survivors = [place for place, row in enumerate(stats.accuracy.tolist()) if sum(row) == 1]
        kept = [False] * len(stats)
        if survivors and len(survivors) >= min_pool:
            chosen = LengthBand().select(stats.lengths[survivors].mean(dim=1)).tolist()
            for place, keep in zip(survivors, chosen, strict=True):
                kept[place] = keep
        expected += kept
    assert judged.decision.keep.tolist() == expected
    sizes_of_pools = [int(LSPO.decide(stats, 0).pool_size or 0) for stats in rounds]
    assert judged.decided == any(size >= min_pool for size in sizes_of_pools)
    undecided = [size < min_pool for size, stats in zip(sizes_of_pools, rounds, strict=True) for _ in range(len(stats))]
    assert judged.undecided.tolist() == undecided
    released = judged.at_the_limit().decision
    assert released.keep.tolist() == torch.cat([LSPO.decide(stats, 0).keep for stats in rounds]).tolist()
    assert released.reasons == [reason for stats in rounds for reason in LSPO.decide(stats, 0).reasons]
    assert [reason == "kept" for reason in judged.decision.reasons] == expected
    assert judged.stats.draw_index.tolist() == [index for stats in rounds for index in stats.draw_index.tolist()]


def test_a_round_by_itself_below_min_pool_is_undecided() -> None:
    rounds = [make_pool([[1.0] * 2, [2.0] * 2]), make_pool([[1.0] * 2, [2.0] * 2, [3.0] * 2])]
    judged = judge(rounds, LengthBand(low=0.5, keep="short"), plan(pool="round", min_pool=3))
    assert judged.decision.reasons == ["pool_too_small", "length_long", "kept", "kept", "length_long"]
    assert judged.num_kept == 2
    assert judged.undecided.tolist() == [True, True, False, False, False]
    assert judged.at_the_limit().decision.reasons == ["kept", "length_long", "kept", "kept", "length_long"]


def test_a_window_counts_history_and_does_not_keep_it() -> None:
    history = make_pool([[1.0] * 2, [2.0] * 2, [3.0] * 2])
    stats = make_pool([[2.0] * 2, [4.0] * 2, [5.0] * 2], first_index=3)
    band = LengthBand(low=0.5, keep="short")
    window = judge([stats], band, plan(pool="window", min_pool=6), history=history)
    # Q(0.5) of 1 2 3 2 4 5 is the third, 2; of 2 4 5 it is 4.
    assert window.decision.keep.tolist() == [True, False, False]
    assert window.decision.thresholds["length_low"] == 2.0
    assert window.stats.draw_index.tolist() == [3, 4, 5]
    assert (window.pool_size, window.history_size, window.decided) == (6, 3, True)
    for judged in (
        judge([stats], band, plan(pool="window"), history=None),
        judge([stats], band, plan(pool="window"), history=history.where(torch.zeros(3, dtype=torch.bool))),
        judge([stats], band, plan(pool="iteration"), history=history),
    ):
        assert judged.decision.keep.tolist() == [True, True, False]
        assert (judged.pool_size, judged.history_size) == (3, 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 999), st.integers(1, 20), st.integers(1, 20), st.lists(st.integers(1, 6), max_size=3))
def test_a_window_equals_the_rule_over_both(seed: int, before: int, now: int, sizes: list[int]) -> None:
    history, stats = random_pool(before, seed), random_pool(now, seed + 1000, first_index=before)
    judged = judge(cut(stats, sizes), LSPO, plan(pool="window"), history=history)
    whole = LSPO.decide(GroupStats.concatenate([history, stats]), 0)
    assert judged.decision.keep.tolist() == whole.keep[before:].tolist()
    assert judged.decision.reasons == whole.reasons[before:]
    assert judged.pool_size == whole.pool_size
    assert judged.decision.distance is not None
    assert whole.distance is not None
    assert torch.equal(judged.decision.distance, whole.distance[before:])


def with_shares() -> Decision:
    """With a float in the place of each bool, which tests do not let through to a Decision, but runs do."""
    decision = Decision(torch.ones(4, dtype=torch.bool), ["kept"] * 4)
    object.__setattr__(decision, "keep", torch.ones(4))
    return decision


class Answers(GroupSelector):
    """A selector of a user's own, with an answer that is none."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def decide(self, pool: GroupStats, iteration: int) -> Any:
        return self.answer


@pytest.mark.parametrize("pool", ["iteration", "round", "window"])
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (torch.ones(4, dtype=torch.bool), "Tensor"),
        (Decision(torch.ones(3, dtype=torch.bool), ["kept"] * 4), r"a `keep` of type torch\.bool and shape \(3,\)"),
        (with_shares(), r"a `keep` of type torch\.float32 and shape \(4,\)"),
        (Decision(torch.ones(4, dtype=torch.bool), ["kept"]), "1 reasons"),
    ],
)
def test_an_answer_that_is_no_decision_is_named(answer: Any, found: str, pool: Any) -> None:
    none = torch.zeros(4, 2)
    four = GroupStats(torch.arange(4), list("abcd"), none + 1, none, none, none.bool())
    with pytest.raises(RuntimeError, match=rf"Answers\.decide to return .* of the 4 groups .*, but got {found}\."):
        judge([four], Answers(answer), plan(pool=pool))


def test_decided_from_min_pool_survivors_on() -> None:
    pool = make_pool([[float(n)] * 2 for n in range(1, 7)], [RIGHT] * 4 + [WRONG] * 2)  # 4 survive
    assert judge([pool], LSPO, plan(min_pool=4)).decided
    assert not judge([pool], LSPO, plan(min_pool=5)).decided
    assert judge([pool], AccuracyBand(), plan(min_pool=5)).decided  # judges each group by itself


def test_surplus_is_cut_in_draw_order() -> None:
    judged = judge([make_pool([[1.0] * 2] * 5, [RIGHT, WRONG, RIGHT, RIGHT, RIGHT])], AccuracyBand(), plan())
    assert judged.first_kept(2).tolist() == [True, False, True, False, False]
    assert judged.first_kept(9).tolist() == [True, False, True, True, True]
    assert judged.count_reasons() == {"kept": 4, "all_wrong": 1}


# Seven groups; the bounds are Q(0.3) = 10 and Q(0.9) = Q(0.95) = 50 of the six survivors.
LENGTHS = [50.0, 30.0, 10.0, 30.0, 31.0, 10.0, 30.0]
SHORT_OF = make_pool([[length] * 2 for length in LENGTHS], [RIGHT] * 6 + [WRONG])
NARROW = Chain(AccuracyBand(), LengthBand(low=0.3, high=0.9))


def test_at_the_limit_the_plan_may_raise_with_the_numbers() -> None:
    judged = judge([SHORT_OF], NARROW, plan())
    message = (
        r"3 of 4 groups were kept in 2 rounds \(7 prompts: 43% kept, 43% length middle, 14% all wrong\)\. "
        r"Widen the band \(`low`, `high`, `max`\), raise `rounds\.max_rounds` or `rounds\.round_prompts`, lower"
    )
    with pytest.raises(RuntimeError, match=message):
        shortfall_fill(judged, plan(), [Round(), Round()])


def test_at_the_limit_the_plan_may_train_on_what_there_is() -> None:
    judged = judge([SHORT_OF], NARROW, plan(on_shortfall="train"))
    assert shortfall_fill(judged, plan(on_shortfall="train"), []).tolist() == judged.decision.keep.tolist()


@pytest.mark.parametrize(
    ("wanted", "filled"),
    [
        (3, []),
        (4, [4]),  # 31 is nearest: 19 from the long ones; the 30s are 20 from both
        (5, [1, 4]),  # equally near ones in draw order
        (6, [1, 3, 4]),
        (9, [1, 3, 4]),  # an all-wrong group is never filled in
    ],
)
def test_at_the_limit_the_plan_may_fill_up_with_the_nearest(wanted: int, filled: list[int]) -> None:
    asked = plan(train_groups=wanted, on_shortfall="fill")
    judged = judge([SHORT_OF], NARROW, asked)
    assert judged.decision.keep.nonzero().flatten().tolist() == [0, 2, 5]
    assert shortfall_fill(judged, asked, []).nonzero().flatten().tolist() == sorted([0, 2, 5, *filled])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 40))
def test_filling_takes_the_nearest_first(seed: int, groups: int, wanted: int) -> None:
    asked = plan(train_groups=wanted, on_shortfall="fill")
    judged = judge([random_pool(groups, seed)], LSPO, asked)
    distance = judged.decision.distance
    assert distance is not None
    fillable = [place for place in range(groups) if distance[place] < torch.inf]
    expected = sorted(fillable, key=lambda place: (float(distance[place]), place))[:wanted]
    if expected:
        assert shortfall_fill(judged, asked, []).nonzero().flatten().tolist() == sorted(expected)


@pytest.mark.parametrize("policy", ["raise", "train", "fill"])
def test_nothing_to_train_on_is_an_error_under_every_policy(policy: str) -> None:
    asked = plan(on_shortfall=policy)
    judged = judge([make_pool([[1.0] * 2] * 4, [WRONG] * 4)], LSPO, asked)
    with pytest.raises(RuntimeError, match=r"No group was kept in 1 rounds \(4 prompts: 100% all wrong\)"):
        shortfall_fill(judged, asked, [Round()])


def test_a_pool_below_min_pool_is_named() -> None:
    asked = plan(train_groups=2, min_pool=64)
    judged = judge([SHORT_OF], NARROW, asked)
    with pytest.raises(RuntimeError, match=r"3 groups were kept, enough for 2, but the pool of 6 groups is below"):
        shortfall_fill(judged, asked, [Round()])


def test_a_selector_without_distances_is_not_filled() -> None:
    asked = plan(on_shortfall="fill")
    judged = judge([SHORT_OF], NARROW, asked)
    object.__setattr__(judged.decision, "distance", None)
    assert shortfall_fill(judged, asked, []).tolist() == judged.decision.keep.tolist()


def test_a_pool_below_min_pool_is_filled_up_as_any_other() -> None:
    asked = plan(train_groups=5, min_pool=64, on_shortfall="fill")
    judged = judge([SHORT_OF], NARROW, asked).at_the_limit()
    assert not judged.decided
    assert shortfall_fill(judged, asked, []).nonzero().flatten().tolist() == [0, 1, 2, 4, 5]


def test_a_group_without_a_right_answer_is_not_filled_in_where_no_filter_has_dropped_it() -> None:
    """The last group, all wrong, is as near to a bound as the other 30s."""
    asked = plan(train_groups=9, on_shortfall="fill")
    judged = judge([SHORT_OF], LengthBand(low=0.2, high=0.9), asked)
    assert judged.decision.distance is not None
    assert bool(judged.decision.distance.isfinite().all())
    assert shortfall_fill(judged, asked, []).nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_bounds_of_rounds_that_are_pools_are_the_last_ones() -> None:
    rounds = [make_pool([[1.0, 1.0], [2.0, 2.0]]), make_pool([[30.0, 30.0], [40.0, 40.0]], first_index=2)]
    judged = judge(rounds, LSPO, plan(pool="round"))
    assert judged.decision.thresholds["length_low"] == 30.0
