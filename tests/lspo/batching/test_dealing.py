from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.batching.dealing import pack, spread

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


@settings(max_examples=200, deadline=None)
@given(ITEMS)
def test_pack_balances(case: tuple[int, list[int]]) -> None:
    # The fullest bin was the emptiest before its last, and smallest, item came.
    num_bins, sizes = case
    bins = pack(sizes, num_bins)
    totals = [sum(sizes[item] for item in members) for members in bins]
    fullest = bins[totals.index(max(totals))]
    assert max(totals) - min(totals) <= min(sizes[item] for item in fullest)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=3, max_size=7))
def test_pack_is_within_a_sixth_of_the_best_for_two_bins(sizes: list[int]) -> None:
    # Longest first is at most 4/3 - 1/(3 m) of the optimum for m bins (Graham 1969): 7/6 for two.
    totals = [sum(sizes[item] for item in members) for members in pack(sizes, 2)]
    best = min(
        max(sum(itertools.compress(sizes, side)), sum(sizes) - sum(itertools.compress(sizes, side)))
        for side in itertools.product([0, 1], repeat=len(sizes))
    )
    assert max(totals) * 6 <= best * 7


def test_pack_by_hand() -> None:
    # 9 | 7 | then 5 joins 7, 4 joins 9, 3 joins 12 or 13: the emptier, 12
    assert pack([3, 9, 4, 7, 5], 2) == [[1, 2], [0, 3, 4]]
    # Ties go to the lower bin, and to the one with fewer items.
    assert pack([2, 2, 2, 2], 2) == [[0, 2], [1, 3]]
    assert pack([0, 0, 0, 0], 2) == [[0, 2], [1, 3]]


def test_fewer_items_than_bins_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"each of 3 micro-batches, but got 2 rollouts.*accumulate_grad_batches"):
        pack([1, 1], 3)
