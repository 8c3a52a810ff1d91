from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.sampling import AccuracyBand
from lspo.testing import make_pool


def rows(correct: list[int], group_size: int) -> list[list[float]]:
    return [[1.0] * count + [0.0] * (group_size - count) for count in correct]


def test_drops_all_wrong_and_all_right() -> None:
    pool = make_pool([[5.0] * 4] * 5, rows([0, 1, 2, 3, 4], 4))
    decision = AccuracyBand().decide(pool, iteration=0)
    assert decision.reasons == ["all_wrong", "kept", "kept", "kept", "all_right"]
    assert decision.keep.tolist() == [False, True, True, True, False]
    assert decision.distance is not None
    assert decision.distance.tolist() == [torch.inf, 0.0, 0.0, 0.0, torch.inf]
    assert decision.thresholds == {"accuracy_low": 0.0, "accuracy_high": 1.0}
    assert decision.pool_size is None  # every group is judged by itself


def test_reads_accuracy_and_not_the_shaped_reward() -> None:
    # Contract 6. All wrong, but one response has the format bonus: the rewards spread, the verdicts do not.
    # And the other way round: verdicts that differ under rewards that, after shaping, do not.
    pool = make_pool([[5.0, 5.0], [5.0, 5.0]], rows([0, 1], 2), rewards=[[0.1, 0.0], [0.5, 0.5]])
    assert AccuracyBand().decide(pool, iteration=0).reasons == ["all_wrong", "kept"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_equals_the_definition_in_fractions(data: st.DataObject) -> None:
    group_size = data.draw(st.integers(2, 20))
    low, high = sorted(data.draw(st.lists(st.integers(0, 20), min_size=2, max_size=2, unique=True)))
    correct = data.draw(st.lists(st.integers(0, group_size), min_size=1, max_size=20))
    inclusive = data.draw(st.booleans())
    band = AccuracyBand(low=low / 20, high=high / 20, inclusive=inclusive)
    decision = band.decide(make_pool([[1.0] * group_size] * len(correct), rows(correct, group_size)), iteration=0)
    shares = [Fraction(count, group_size) for count in correct]
    bounds = [Fraction(Decimal(repr(bound))) for bound in (band.low, band.high)]
    within = [bounds[0] < share < bounds[1] or (inclusive and share in bounds) for share in shares]
    assert decision.keep.tolist() == within
    assert [reason == "kept" for reason in decision.reasons] == decision.keep.tolist()


def test_names_its_reasons_by_its_bounds() -> None:
    pool = make_pool([[5.0] * 10] * 3, rows([3, 5, 7], 10))
    assert AccuracyBand(low=0.3, high=0.7).decide(pool, iteration=0).reasons == [
        "accuracy_low",
        "kept",
        "accuracy_high",
    ]


def test_a_difficulty_band_keeps_its_bounds() -> None:
    pool = make_pool([[5.0] * 5] * 6, rows([0, 1, 2, 3, 4, 5], 5))
    decision = AccuracyBand(low=0.2, high=0.8, inclusive=True).decide(pool, iteration=0)
    assert decision.reasons == ["accuracy_low", "kept", "kept", "kept", "kept", "accuracy_high"]
    # One accuracy alone, which strict bounds cannot name.
    one = AccuracyBand(low=0.6, high=0.6, inclusive=True).decide(pool, iteration=0)
    assert one.keep.tolist() == [False] * 3 + [True] + [False] * 2
    with pytest.raises(ValueError, match=r"0 <= low <= high <= 1 as accuracy bounds, but got low=0\.7, high=0\.3"):
        AccuracyBand(low=0.7, high=0.3, inclusive=True)


def test_an_empty_pool_is_no_error() -> None:
    pool = make_pool([[5.0, 5.0]]).where(torch.tensor([False]))
    assert AccuracyBand().decide(pool, iteration=0).reasons == []


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (0.7, 0.3), (-0.1, 1.0), (0.0, 1.1)])
def test_bounds_are_checked(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=f"low={low}, high={high}"):
        AccuracyBand(low=low, high=high)
