from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.sampling.quantile import quantile

SHARES = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
VALUES = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=60)  # few values, many ties


def written(share: float) -> Fraction:
    return Fraction(Decimal(repr(share)))


def inverted_cdf_by_definition(values: list[float], share: float) -> float:
    """inf{t : F(t) >= a} with F(t) the share of values <= t; for a = 0 the least value, as numpy has it."""
    reached = [t for t in values if Fraction(sum(v <= t for v in values), len(values)) >= written(share)]
    return min(reached)


def linear_by_definition(values: list[float], share: float) -> Fraction:
    ordered = sorted(map(Fraction, values))
    place = written(share) * (len(values) - 1)
    below, above = math.floor(place), math.ceil(place)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@settings(max_examples=200, deadline=None)
@given(VALUES, SHARES)
def test_equals_the_definitions(values: list[float], share: float) -> None:
    tensor = torch.tensor(values)
    assert quantile(tensor, share) == inverted_cdf_by_definition(values, share)
    assert quantile(tensor, share, rule="linear") == pytest.approx(
        float(linear_by_definition(values, share)), abs=1e-12
    )


@settings(max_examples=100, deadline=None)
@given(VALUES, SHARES)
def test_equals_numpy(values: list[float], share: float) -> None:
    tensor = torch.tensor(values)
    assert quantile(tensor, share, rule="linear") == pytest.approx(np.percentile(values, share * 100), abs=1e-9)
    rank = written(share) * len(values)
    if rank.denominator != 1:  # numpy multiplies floats: where a * n is a whole number it may take the next one
        assert quantile(tensor, share) == np.quantile(values, share, method="inverted_cdf")


def test_the_rank_is_computed_on_the_decimal_that_was_written() -> None:
    # 0.07 * 100 is 7.000000000000001 in floats, whose ceiling is 8; and likewise 0.55, 0.56, 0.57, 0.58.
    hundred = torch.arange(1.0, 101.0)
    for percent in range(1, 101):
        assert quantile(hundred, percent / 100) == percent


@pytest.mark.parametrize("rule", ["inverted_cdf", "linear"])
def test_ends_are_least_and_greatest_and_order_does_not_matter(rule: str) -> None:
    values = torch.tensor([7.0, 3.0, 5.0, 3.0])
    assert quantile(values, 0.0, rule=rule) == 3.0
    assert quantile(values, 1.0, rule=rule) == 7.0
    assert quantile(values.flip(0), 0.6, rule=rule) == quantile(values, 0.6, rule=rule)


def test_errors() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        quantile(torch.tensor([]), 0.5)
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"between 0 and 1, but got {share}"):
            quantile(torch.tensor([1.0]), share)
