from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.sampling import Downsampler, MaxVariance
from lspo.sampling.downsample import max_variance_subset
from lspo.types import Prompt, Rollout, RolloutGroup, Score


def group_of(rewards: Sequence[float]) -> RolloutGroup:
    rollouts = tuple(
        Rollout((place,), (-1.0,), False, str(place), Score(float(reward > 0.5), reward))
        for place, reward in enumerate(rewards)
    )
    return RolloutGroup(Prompt("p", "", (1,), ""), 7, 3, rollouts)


def by_definition(rewards: Sequence[float], keep: int) -> list[int]:
    """Over all subsets; combinations come in the order of their places, and `max` takes the first of equals."""

    def variance(places: tuple[int, ...]) -> Fraction:
        values = [Fraction(rewards[place]) for place in places]
        mean = sum(values) / keep
        return sum((value - mean) ** 2 for value in values) / keep

    return list(max(combinations(range(len(rewards)), keep), key=variance))


few = st.sampled_from([0.0, 1.0, 0.1, -1.0, 0.5])  # ties everywhere
real = st.floats(-5, 5, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from([few, real, st.sampled_from([0.0, 1.0])]))
def test_equals_the_best_of_all_subsets(data: st.DataObject, kind: st.SearchStrategy[float]) -> None:
    rewards = data.draw(st.lists(kind, min_size=2, max_size=8))
    keep = data.draw(st.integers(2, len(rewards)))
    assert max_variance_subset(rewards, keep) == by_definition(rewards, keep)


@pytest.mark.parametrize(
    ("right", "wrong", "keep", "expected"),
    [(8, 8, 4, (2, 2)), (3, 13, 8, (3, 5)), (15, 1, 8, (7, 1)), (16, 0, 4, (4, 0)), (5, 5, 6, (3, 3))],
)
def test_right_and_wrong_in_halves_as_far_as_they_go(
    right: int, wrong: int, keep: int, expected: tuple[int, int]
) -> None:
    rewards = [1.0] * right + [0.0] * wrong
    chosen = [rewards[place] for place in max_variance_subset(rewards, keep)]
    assert (chosen.count(1.0), chosen.count(0.0)) == expected


def test_a_value_by_hand() -> None:
    # Of 0, 4, 5, 10, three: 0 4 10 and 0 5 10 both deviate, by -14/3 -2/3 16/3 and -5 0 5: 50.67 against 50 in squares.
    assert max_variance_subset([5.0, 10.0, 0.0, 4.0], 3) == [1, 2, 3]
    assert max_variance_subset([5.0, 10.0, 0.0, 4.0], 2) == [1, 2]


def test_equal_rewards_keep_the_first() -> None:
    assert max_variance_subset([0.3] * 6, 4) == [0, 1, 2, 3]


def test_places_of_a_group_by_its_rewards() -> None:
    # Shaped rewards count, and not accuracy: that is what advantages are made of.
    assert MaxVariance(keep=2).places(group_of([0.6, 1.0, 0.9, 0.8])) == [0, 1]


def test_whole_responses_go_before_cut_ones() -> None:
    group = group_of([0.0, 0.0, 1.0, 1.0, 0.0])
    cut = [replace(one, truncated=place in (0, 2)) for place, one in enumerate(group.rollouts)]
    group = replace(group, rollouts=tuple(cut))
    assert MaxVariance(keep=2).places(group) == [1, 3]
    assert MaxVariance(keep=4).places(group) == [1, 2, 3, 4]  # two and two vary most, and there are but two right ones


def test_many_responses_take_no_time() -> None:
    assert len(max_variance_subset([(place * 37 % 512) / 7 for place in range(512)], 64)) == 64


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"Expected `keep` to be at least 2, .* but got 1"):
        MaxVariance(keep=1)
    with pytest.raises(ValueError, match="group_size=4 of each group, but got keep=5 of MaxVariance"):
        MaxVariance(keep=5).check(4)
    MaxVariance(keep=4).check(4)
    with pytest.raises(ValueError, match="between 2 and the 2 rewards there are, but got 3"):
        max_variance_subset([0.0, 1.0], 3)
    with pytest.raises(ValueError, match="Expected finite rewards"):
        max_variance_subset([0.0, float("nan")], 2)


@pytest.mark.parametrize("places", [[0, 0], [0], [0, 4], [-1, 0], []])
def test_a_choice_of_ones_own_is_checked(places: list[int]) -> None:
    class Mine(Downsampler):
        keep = 2

        def choose(self, group: RolloutGroup) -> Sequence[int]:
            return places

    with pytest.raises(ValueError, match="Expected Mine to choose keep=2 different places of the 3 responses to p"):
        Mine().places(group_of([0.0, 1.0, 0.0]))
