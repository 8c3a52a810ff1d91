from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.batching.dealing import least_bins, pack, spread

ITEMS = st.tuples(st.integers(1, 8), st.lists(st.integers(0, 50), min_size=8, max_size=60))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 50), st.integers(1, 9))
def test_spread_cuts_into_runs_of_like_size(total: int, parts: int) -> None:
    runs = spread(total, parts)
    assert len(runs) == parts
    assert [place for run in runs for place in run] == list(range(total))
    assert max(map(len, runs)) - min(map(len, runs)) <= 1


@settings(max_examples=200, deadline=None)
@given(ITEMS)
def test_pack_deals_every_item_once_into_full_bins(case: tuple[int, list[int]]) -> None:
    num_bins, sizes = case
    bins = pack(sizes, num_bins)
    assert len(bins) == num_bins
    assert all(bins)
    assert sorted(item for members in bins for item in members) == list(range(len(sizes)))
    assert all(members == sorted(members) for members in bins)
    assert pack(list(sizes), num_bins) == bins


def padded(members: list[int], sizes: list[int]) -> int:
    return len(members) * max(1, *(sizes[item] for item in members))


@settings(max_examples=200, deadline=None)
@given(ITEMS)
def test_pack_puts_like_sizes_together(case: tuple[int, list[int]]) -> None:
    # No bin reaches into the sizes of the next: sorted, each bin's smallest is at least the next one's largest.
    num_bins, sizes = case
    bins = pack(sizes, num_bins)
    for longer, shorter in itertools.pairwise(bins):
        assert min(sizes[item] for item in longer) >= max(sizes[item] for item in shorter)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=3, max_size=7), st.integers(1, 3))
def test_the_largest_bin_is_as_small_as_any_dealing_makes_it(sizes: list[int], num_bins: int) -> None:
    def largest(owners: tuple[int, ...]) -> int:
        bins = [[item for item, owner in enumerate(owners) if owner == number] for number in range(num_bins)]
        return max(padded(members, sizes) for members in bins) if all(bins) else 10**9

    best = min(map(largest, itertools.product(range(num_bins), repeat=len(sizes))))
    assert max(padded(members, sizes) for members in pack(sizes, num_bins)) == best


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=40), st.integers(1, 200))
def test_least_bins_is_the_first_number_whose_largest_bin_fits(sizes: list[int], most: int) -> None:
    fitting = (
        count
        for count in range(1, len(sizes) + 1)
        if max(padded(members, sizes) for members in pack(sizes, count)) <= most
    )
    assert least_bins(sizes, most) == next(fitting, None)


def test_little_is_padding_in_a_long_tail() -> None:
    # Responses with a median of 400 tokens and at most 3,072: groups differ by e^N(0, .6), responses by e^N(0, .65).
    rng = random.Random(0)
    medians = [400 * math.exp(rng.gauss(0, 0.6)) for _ in range(32)]
    sizes = [120 + min(3072, int(median * math.exp(rng.gauss(0, 0.65)))) for median in medians for _ in range(8)]
    for num_bins in (8, 16, 32):
        costs = [padded(members, sizes) for members in pack(sizes, num_bins)]
        assert sum(costs) / sum(sizes) <= 1.2
        assert max(costs) * num_bins / sum(sizes) <= 1.25


def test_pack_by_hand() -> None:
    # 9 7 | 5 4 3 costs 18 and 15. 9 | 7 5 4 3 would cost 9 and 28; 9 7 5 | 4 3 27 and 8.
    assert pack([3, 9, 4, 7, 5], 2) == [[1, 3], [0, 2, 4]]
    # Two bins would do at the least cost of 9: the costliest that can be cut is 2 2 2.
    assert pack([9, 2, 2, 2], 3) == [[0], [1], [2, 3]]
    # 16 of one size in 6 bins: three in each would leave one for the last.
    assert [len(members) for members in pack([5] * 16, 6)] == [3, 3, 3, 3, 2, 2]
    # One size: in order, as evenly as can be.
    assert pack([2, 2, 2, 2], 2) == [[0, 1], [2, 3]]
    assert pack([0, 0, 0, 0], 2) == [[0, 1], [2, 3]]


def test_fewer_items_than_bins_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"each of 3 micro-batches, but got 2 rollouts.*accumulate_grad_batches"):
        pack([1, 1], 3)
