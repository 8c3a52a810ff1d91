from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.sampling import AccuracyBand, Chain, LengthBand, RelativeAccuracyBand
from lspo.testing import make_pool


def rows(correct: list[int], group_size: int) -> list[list[float]]:
    return [[1.0] * count + [0.0] * (group_size - count) for count in correct]


@st.composite
def bands(draw: st.DrawFn) -> RelativeAccuracyBand:
    low, high, cap = sorted(draw(st.lists(st.integers(0, 100), min_size=3, max_size=3)))
    return RelativeAccuracyBand(
        low=low / 100,
        high=high / 100,
        max=draw(st.sampled_from([None, cap / 100])),
        quantile=draw(st.sampled_from(["inverted_cdf", "linear"])),
        thresholds=draw(st.sampled_from(["percentile", "value"])),
        keep=draw(st.sampled_from(["both", "low", "high", "middle"])),
    )


def by_definition(correct: list[int], group_size: int, band: RelativeAccuracyBand) -> list[bool]:
    ordered = sorted(Fraction(count, group_size) for count in correct)
    bounds = []
    for share in (band.low, band.high, 1.0 if band.max is None else band.max):
        a = Fraction(Decimal(repr(share)))
        if band.thresholds == "value":
            bounds.append(ordered[0] + a * (ordered[-1] - ordered[0]))
        elif band.quantile == "inverted_cdf":
            bounds.append(min(t for t in ordered if Fraction(sum(x <= t for x in ordered), len(ordered)) >= a))
        else:
            place = a * (len(ordered) - 1)
            below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
            bounds.append(below + (place - math.floor(place)) * (above - below))
    low, high, cap = bounds
    rule = {
        "both": lambda x: x <= low or high <= x <= cap, "low": lambda x: x <= low,
        "high": lambda x: high <= x <= cap, "middle": lambda x: low < x < high,
    }[band.keep]  # fmt: skip
    return [rule(Fraction(count, group_size)) for count in correct]


@settings(max_examples=100, deadline=None)
@given(bands(), st.integers(2, 12), st.data())
def test_equals_the_definition_in_fractions(band: RelativeAccuracyBand, group_size: int, data: st.DataObject) -> None:
    correct = data.draw(st.lists(st.integers(0, group_size), min_size=1, max_size=24))
    pool = make_pool([[7.0] * group_size] * len(correct), rows(correct, group_size))
    decision = band.decide(pool, 0)
    assert decision.keep.tolist() == by_definition(correct, group_size, band)
    assert torch.equal(decision.keep, band.select(pool.accuracy.mean(dim=1)))
    assert [reason == "kept" for reason in decision.reasons] == decision.keep.tolist()
    assert decision.distance is not None
    assert [distance == 0 for distance in decision.distance.tolist()] == decision.keep.tolist()


def test_it_is_the_rule_of_lengths_on_another_quantity() -> None:
    correct = torch.randint(0, 9, (60,)).tolist()
    as_lengths = make_pool([[count / 8] * 8 for count in correct])
    pool = make_pool([[1.0] * 8] * 60, rows(correct, 8))
    decision, other = RelativeAccuracyBand().decide(pool, 0), LengthBand().decide(as_lengths, 0)
    assert torch.equal(decision.keep, other.keep)
    assert list(decision.thresholds.values()) == list(other.thresholds.values())


def test_equals_numpy() -> None:
    accuracy = torch.randint(0, 9, (200,)).double() / 8
    low, high, cap = (np.percentile(accuracy.numpy(), percent) for percent in (30, 60, 90))
    expected = (accuracy <= low) | ((accuracy >= high) & (accuracy <= cap))
    band = RelativeAccuracyBand(low=0.3, high=0.6, max=0.9, quantile="linear")
    assert torch.equal(band.select(accuracy), expected)


def test_reasons_and_thresholds_have_names_of_their_own() -> None:
    # Behind an accuracy filter, whose thresholds are logged too.
    pool = make_pool([[1.0] * 8] * 6, rows([0, 1, 3, 4, 6, 7], 8))
    decision = Chain(AccuracyBand(), RelativeAccuracyBand(low=0.2, high=0.8, max=0.8, keep="high")).decide(pool, 0)
    assert decision.reasons == [
        "all_wrong", "relative_accuracy_low", "relative_accuracy_middle", "relative_accuracy_middle", "kept",
        "relative_accuracy_above_max",
    ]  # fmt: skip
    assert decision.thresholds == {
        "accuracy_low": 0.0, "accuracy_high": 1.0,
        "relative_accuracy_low": 0.125, "relative_accuracy_high": 0.75, "relative_accuracy_max": 0.75,
    }  # fmt: skip
    assert decision.pool_size == 5


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"Expected 0 <= low <= high <= max <= 1 as shares .* but got low=0\.7"):
        RelativeAccuracyBand(low=0.7)
    band = RelativeAccuracyBand()
    object.__setattr__(band, "keep", "short")  # past the type checker of the tests
    with pytest.raises(ValueError, match="Expected `keep` to be one of both, low, high, middle, but got 'short'"):
        band.__post_init__()
