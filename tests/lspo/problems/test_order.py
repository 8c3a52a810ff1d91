"""The order of draws: shuffled turns, sets by weight, any place from one number."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from lspo.problems.order import BLOCK, MixedOrder, TurnOrder

SIZES = (5, 40, 300)
MEMBERS = [range(0, 5), range(5, 45), range(45, 345)]
WEIGHTS = (0.5, 0.3, 0.2)


def mixed(seed: int = 3, *, shuffle: bool = True) -> MixedOrder:
    return MixedOrder(MEMBERS, WEIGHTS, seed, names=("a", "b", "c"), shuffle=shuffle)


def set_of(place: int) -> int:
    return next(which for which, places in enumerate(MEMBERS) if place in places)


@pytest.mark.parametrize("seed", [0, 7])
def test_turns_are_pythons_own_shuffle(seed: int) -> None:
    """The order that measured runs had: of a list, by this seed."""
    order = TurnOrder(50, seed)
    for turn in (0, 1, 2, 0):
        expected = list(range(50))
        random.Random(f"{seed}-{turn}").shuffle(expected)
        assert [order.place(turn * 50 + offset) for offset in range(50)] == expected


def test_an_order_takes_four_bytes_a_prompt() -> None:
    order = TurnOrder(1000, 0)
    order.place(0)
    assert order._order.itemsize * len(order._order) == 4000


def test_sets_are_drawn_by_weight() -> None:
    order = mixed()
    count = 30_000
    drawn = Counter(set_of(order.place(index)) for index in range(count))
    for which, weight in enumerate(WEIGHTS):
        # Four standard deviations.
        assert abs(drawn[which] - count * weight) < 4 * (count * weight * (1 - weight)) ** 0.5


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_set_goes_through_its_own_prompts(shuffle: bool) -> None:
    order = mixed(shuffle=shuffle)
    places = [order.place(index) for index in range(3 * BLOCK)]
    for which, size in enumerate(SIZES):
        own = [place for place in places if set_of(place) == which]
        turns = [own[start : start + size] for start in range(0, len(own) - size + 1, size)]
        assert len(turns) > 2
        assert all(sorted(turn) == list(MEMBERS[which]) for turn in turns)
        assert any(one != other for one, other in pairwise(turns)) is shuffle


def test_any_place_from_its_number_alone() -> None:
    order = mixed()
    unbroken = [order.place(index) for index in range(3 * BLOCK)]
    for index in (0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 17, 3 * BLOCK - 1):
        assert mixed().place(index) == unbroken[index]
        # Back and forth in the same object too.
        assert order.place(index) == unbroken[index]


def test_the_picks_are_those_of_the_seed() -> None:
    first, other = ([mixed(seed).place(index) for index in range(50)] for seed in (1, 2))
    assert first == [mixed(1).place(index) for index in range(50)]
    assert [set_of(place) for place in first] != [set_of(place) for place in other]


def test_a_set_keeps_its_order_when_others_join() -> None:
    alone = MixedOrder([MEMBERS[2]], [1.0], 3, names=["c"])
    order = mixed()
    own = [place for index in range(BLOCK) if set_of(place := order.place(index)) == 2]
    assert own == [alone.place(index) for index in range(len(own))]


def test_weights_need_not_sum_to_one() -> None:
    doubled = MixedOrder(MEMBERS, [2 * weight for weight in WEIGHTS], 3, names=("a", "b", "c"))
    order = mixed()
    assert [doubled.place(index) for index in range(500)] == [order.place(index) for index in range(500)]


def test_sets_of_one_size_are_not_shuffled_alike() -> None:
    order = MixedOrder([range(20), range(20, 40)], [1.0, 1.0], 0, names=["a", "b"])
    drawn = [order.place(index) for index in range(200)]
    first = [place for place in drawn if place < 20][:20]
    second = [place - 20 for place in drawn if place >= 20][:20]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
