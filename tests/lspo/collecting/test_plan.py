from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.collecting.plan import CollectPlan, LastYield


@dataclass
class Round:
    """What sizing needs to know of a round that is over."""

    num_groups: int
    kept: int
    pool_size: int | None = None
    history_size: int = 0


def plan(**settings: Any) -> CollectPlan:
    return CollectPlan(
        **{"iteration": 0, "train_groups": 16, "group_size": 8, "round_prompts": 64, "min_pool": 0, **settings}
    )


def test_the_first_round_is_whole() -> None:
    assert plan().next_round([]) == 64


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        # 16 - 12 = 4 missing; 12 of 64 were kept: 4 * 64 / 12 = 21.3 prompts, a quarter more: 26.7
        ([Round(64, 12)], 27),
        # `kept` counts all rounds so far: 13 of 64 + 27, so 3 * 91 / 13 * 1.25 = 26.25
        ([Round(64, 12), Round(27, 13)], 27),
        # 1 * 64 / 15 * 1.25 = 5.3, but an eighth of a round is 8
        ([Round(64, 15)], 8),
        # 12 * 64 / 4 * 1.25 = 240, but a round is 64
        ([Round(64, 4)], 64),
        # nothing yet: no yield to go by
        ([Round(64, 0)], 64),
    ],
)
def test_asks_for_what_is_missing_by_the_yield(rounds: list[Round], expected: int) -> None:
    assert plan().next_round(rounds) == expected


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        # The pool needs 40 - 32 = 8 more survivors at 32 of 64: 8 * 2 * 1.25 = 20, though enough would be kept
        ([Round(64, 20, 32)], 20),
        # what is missing of the groups is more than what is missing of the pool: 4 * 64 / 12 * 1.25 = 26.7
        ([Round(64, 12, 39)], 27),
        # no survivors at all
        ([Round(64, 0, 0)], 64),
        # 24 of the 32 are of earlier iterations: these 64 prompts gave 8 survivors, and as many are missing
        ([Round(64, 20, 32, history_size=24)], 64),
        # of the 36, 20: 16 of 64 are the yield, and 4 are missing: 4 * 4 * 1.25 = 20
        ([Round(64, 20, 36, history_size=20)], 20),
        # earlier iterations alone are enough
        ([Round(64, 15, 70, history_size=50)], 8),
        # a rule without a pool asks for none
        ([Round(64, 15, None)], 8),
    ],
)
def test_asks_for_what_the_pool_is_missing(rounds: list[Round], expected: int) -> None:
    assert plan(min_pool=40).next_round(rounds) == expected


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        # 2 of 8 survive: (64 - 2) * 8 / 2 * 1.25 = 310 prompts in the 9 rounds that are left: 34.4 each
        ([Round(8, 1, 2)], 35),
        # fewer are left: 62 * 8 / 2 * 1.25 / 1
        ([Round(8, 1, 2)] * 9, 64),
        # no survivor yet
        ([Round(8, 0, 0)], 64),
        # 6 of 8: 97 prompts, 11 each
        ([Round(8, 4, 6)], 11),
        # a round is large enough: 20 * 100 / 44 * 1.25 / 9 = 6.3 fit the 8
        ([Round(100, 4, 44)], 8),
        # a rule without a pool needs none
        ([Round(8, 0, None)], 8),
    ],
)
def test_small_rounds_grow_where_the_pool_would_not_be_filled(rounds: list[Round], expected: int) -> None:
    small = {"train_groups": 8, "round_prompts": 8, "min_pool": 64}
    assert plan(**small, grow=True).next_round(rounds) == expected
    assert plan(**small).next_round(rounds) == 8


def test_rounds_that_are_pools_all_have_the_same_size() -> None:
    assert plan(pool="round").next_round([Round(64, 15, 32)]) == 64


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 300), st.integers(0, 200), st.lists(st.tuples(st.integers(1, 99), st.integers(0, 99)), min_size=1)
)
def test_a_round_is_between_an_eighth_and_a_whole(
    round_prompts: int, min_pool: int, rounds: list[tuple[int, int]]
) -> None:
    sized = plan(round_prompts=round_prompts, min_pool=min_pool).next_round([Round(n, k, k) for n, k in rounds])
    assert math.ceil(round_prompts / 8) <= sized <= round_prompts


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_size": 1}, "Expected `group_size` to be at least 2, so that a group has a baseline, but got 1"),
        ({"train_groups": 0}, "`train_groups` to be at least 1, but got 0"),
        ({"round_prompts": 0}, "`round_prompts` to be at least 1"),
        ({"max_rounds": 0}, "`max_rounds` to be at least 1"),
        ({"reward_batch_groups": 0}, "`reward_batch_groups` to be at least 1"),
        ({"min_pool": -1}, "`min_pool` to be at least 0, but got -1"),
        ({"max_age": -1}, "`max_age` to be at least 0"),
        ({"margin": 0.0}, "`margin` to be above 0"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(**settings)


@pytest.mark.parametrize("name", ["pool", "on_shortfall"])
def test_names_are_checked(name: str) -> None:
    # A misspelled "raise" would otherwise train in silence.
    wrong = plan()
    setattr(wrong, name, "Raise")
    with pytest.raises(ValueError, match=f"Expected `{name}` to be one of .*, but got 'Raise'"):
        wrong.__post_init__()


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (LastYield(), 32),  # nothing is known yet
        (LastYield(100, 100), 32),  # all were kept
        (LastYield(100, 50), 72),  # 32 / 0.5 = 64, and sqrt(32 * 0.5) / 0.5 = 8 more
        (LastYield(100, 50, pool=80), 85),  # 64 / 0.8 = 80 for the pool, and sqrt(64 * 0.2) / 0.8 = 4.5 more: 84.5
        (LastYield(100, 10), 128),  # 320, but four times what is wanted is enough to learn more
        (LastYield(100, 0), 128),
        (LastYield(100, 100, pool=0), 128),
    ],
)
def test_the_first_round_goes_by_the_last_iteration(last: LastYield, expected: int) -> None:
    assert last.first_round(32, 64) == expected


@pytest.mark.parametrize(
    ("history_size", "expected"),
    [
        (0, 98),  # 64 / 0.7 + sqrt(64 * 0.3) / 0.7 = 97.7 for the pool
        (44, 66),  # 20 for the pool are fewer than 32 / 0.55 + sqrt(32 * 0.45) / 0.55 = 65.1 for the groups
        (64, 66),
        (900, 66),
    ],
)
def test_the_first_round_counts_the_window(history_size: int, expected: int) -> None:
    assert LastYield(100, 55, pool=70).first_round(32, 64, history_size=history_size) == expected


def test_a_window_that_is_full_needs_no_survivors() -> None:
    assert LastYield(100, 100, pool=0).first_round(32, 64, history_size=64) == 32


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_the_first_round_is_enough_in_about_five_of_six(share: float) -> None:
    prompts = LastYield(1000, int(1000 * share)).first_round(40, 0)
    kept = torch.distributions.Binomial(prompts, torch.tensor(share)).sample((4000,))
    assert 0.78 < float((kept >= 40).double().mean()) < 0.92  # one standard deviation: 84%
