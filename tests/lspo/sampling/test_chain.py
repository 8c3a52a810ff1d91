from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.sampling import AccuracyBand, Chain, GroupStats, LengthBand
from lspo.testing import make_pool


@st.composite
def pools(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]]]:
    groups = draw(st.integers(1, 30))
    lengths = st.lists(st.integers(1, 30).map(float), min_size=3, max_size=3)
    verdicts = st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=3)
    table = draw(st.lists(st.tuples(lengths, verdicts), min_size=groups, max_size=groups))
    return [row for row, _ in table], [row for _, row in table]


def mixed(pool: GroupStats) -> list[int]:
    return [place for place, row in enumerate(pool.accuracy.tolist()) if 0 < sum(row) < len(row)]


LSPO = Chain(AccuracyBand(), LengthBand())


def test_the_quantiles_are_those_of_the_survivors() -> None:
    # The two all-wrong groups are the shortest, and would use up the short band if they were counted.
    lengths = [[1.0, 1.0], [2.0, 2.0], [10.0, 10.0], [20.0, 20.0], [30.0, 30.0], [40.0, 40.0]]
    accuracy = [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    band = LengthBand(low=0.25, keep="short")
    pool = make_pool(lengths, accuracy)
    assert Chain(AccuracyBand(), band).decide(pool, 0).thresholds["length_low"] == 10.0  # 1st of 4
    assert band.decide(pool, 0).thresholds["length_low"] == 2.0  # 2nd of 6
    assert Chain(AccuracyBand(), band).decide(pool, 0).reasons == [
        "all_wrong", "all_wrong", "kept", "length_middle", "length_long", "length_long",
    ]  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(pools())
def test_equals_filtering_first_and_selecting_then(tables: tuple[list[list[float]], list[list[float]]]) -> None:
    pool = make_pool(*tables)
    decision = LSPO.decide(pool, 0)
    survivors = mixed(pool)
    kept = [False] * len(pool)
    if survivors:
        lengths = pool.lengths[survivors].mean(dim=1)
        for place, keep in zip(survivors, LengthBand().select(lengths).tolist(), strict=True):
            kept[place] = keep
    assert decision.keep.tolist() == kept
    assert decision.pool_size == len(survivors)
    assert decision.in_pool is not None
    assert decision.in_pool.nonzero().flatten().tolist() == survivors
    assert [reason == "kept" for reason in decision.reasons] == kept
    assert decision.distance is not None
    # 0 iff kept; infinite where accuracy dropped it, for that is not a matter of degree.
    assert [distance == 0 for distance in decision.distance.tolist()] == kept
    finite = decision.distance.isfinite().nonzero().flatten().tolist()
    assert finite == survivors


@settings(max_examples=50, deadline=None)
@given(pools(), st.randoms())
def test_a_permuted_pool_gives_the_permuted_decision(tables: Any, source: Any) -> None:
    pool = make_pool(*tables)
    order = list(range(len(pool)))
    source.shuffle(order)
    shuffled = make_pool(*([table[i] for i in order] for table in tables))
    before, after = LSPO.decide(pool, 0), LSPO.decide(shuffled, 0)
    assert after.keep.tolist() == before.keep[order].tolist()
    assert after.reasons == [before.reasons[i] for i in order]
    assert before.distance is not None
    assert after.distance is not None
    assert torch.equal(after.distance, before.distance[order])


@settings(max_examples=25, deadline=None)
@given(pools())
def test_nesting_and_the_list_for_configuration_files_change_nothing(tables: Any) -> None:
    pool = make_pool(*tables)
    chains = [
        LSPO,
        Chain(selectors=[AccuracyBand(), LengthBand()]),
        Chain(AccuracyBand(), selectors=[LengthBand()]),
        Chain(Chain(AccuracyBand()), Chain(LengthBand())),
    ]
    first, *others = [chain.decide(pool, 0) for chain in chains]
    for other in others:
        assert other.keep.tolist() == first.keep.tolist()
        assert other.reasons == first.reasons
        assert other.thresholds == first.thresholds


def test_thresholds_of_all_are_reported() -> None:
    decision = LSPO.decide(make_pool([[1.0, 1.0], [5.0, 5.0]]), 0)
    assert decision.thresholds == {
        "accuracy_low": 0.0, "accuracy_high": 1.0, "length_low": 1.0, "length_high": 5.0, "length_max": 5.0,
    }  # fmt: skip


def test_without_survivors_nothing_is_kept() -> None:
    decision = LSPO.decide(make_pool([[1.0, 1.0]] * 2, [[1.0, 1.0], [0.0, 0.0]]), 0)
    assert decision.reasons == ["all_right", "all_wrong"]
    assert decision.pool_size == 0
    assert not decision.keep.any()


def test_without_a_relative_rule_there_is_no_pool() -> None:
    assert Chain(AccuracyBand()).decide(make_pool([[1.0, 1.0]]), 0).pool_size is None


def test_a_chain_shows_its_links_and_needs_one() -> None:
    assert repr(Chain(AccuracyBand(), LengthBand())) == f"Chain({AccuracyBand()!r}, {LengthBand()!r})"
    with pytest.raises(ValueError, match="at least one selector"):
        Chain()


def test_the_pool_is_that_of_the_last_relative_rule() -> None:
    """Of four groups the first rule leaves the two short ones, which are the pool of the second."""
    pool = make_pool([[1.0] * 2, [2.0] * 2, [3.0] * 2, [4.0] * 2])
    decision = Chain(LengthBand(low=0.5, keep="short"), LengthBand()).decide(pool, 0)
    assert decision.in_pool is not None
    assert decision.in_pool.tolist() == [True, True, False, False]
