from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.sampling import GroupStats, LengthBand
from lspo.sampling.statistic import group_length
from lspo.testing import make_pool


@dataclass(frozen=True)
class Case:
    """A pool in whole numbers, and a band over it."""

    lengths: list[list[int]]
    accuracy: list[list[int]]
    band: LengthBand

    @property
    def pool(self) -> GroupStats:
        as_floats = [[[float(value) for value in row] for row in table] for table in (self.lengths, self.accuracy)]
        return make_pool(*as_floats)


@st.composite
def cases(draw: st.DrawFn, **fixed: Any) -> Case:
    group_size = draw(st.integers(2, 6))
    groups = draw(st.integers(1, 24))
    longest = draw(st.sampled_from([3, 40, 4000]))  # three tokens at most: ties everywhere

    def table(least: int, greatest: int) -> list[list[int]]:
        row = st.lists(st.integers(least, greatest), min_size=group_size, max_size=group_size)
        return draw(st.lists(row, min_size=groups, max_size=groups))

    low, high, cap = sorted(draw(st.lists(st.integers(0, 100), min_size=3, max_size=3)))
    settings = {
        "low": low / 100,
        "high": high / 100,
        "max": draw(st.sampled_from([None, cap / 100])),
        "quantile": draw(st.sampled_from(["inverted_cdf", "linear"])),
        "thresholds": draw(st.sampled_from(["percentile", "value"])),
        "keep": draw(st.sampled_from(["both", "short", "long", "middle"])),
        "statistic": draw(st.sampled_from(["mean", "median", "max", "correct_mean"])),
    }
    return Case(table(1, longest), table(0, 1), LengthBand(**{**settings, **fixed}))


def exact_lengths(case: Case) -> list[Fraction | None]:
    result: list[Fraction | None] = []
    for lengths, accuracy in zip(case.lengths, case.accuracy, strict=True):
        whole = [Fraction(length) for length in lengths]
        correct = [length for length, right in zip(whole, accuracy, strict=True) if right]
        result.append(
            {
                "mean": sum(whole) / len(whole),
                "median": statistics.median(whole),
                "max": max(whole),
                "correct_mean": sum(correct) / len(correct) if correct else None,
            }[case.band.statistic]
        )
    return result


def exact_bounds(lengths: list[Fraction], band: LengthBand) -> list[Fraction]:
    bounds = []
    for share in (band.low, band.high, 1.0 if band.max is None else band.max):
        a = Fraction(Decimal(repr(share)))
        ordered = sorted(lengths)
        if band.thresholds == "value":
            bounds.append(min(lengths) + a * (max(lengths) - min(lengths)))
        elif band.quantile == "inverted_cdf":
            # Q(a) = inf{t : F(t) >= a}
            bounds.append(min(t for t in lengths if Fraction(sum(x <= t for x in lengths), len(lengths)) >= a))
        else:
            place = a * (len(lengths) - 1)
            below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
            bounds.append(below + (place - math.floor(place)) * (above - below))
    return bounds


def by_definition(case: Case) -> list[bool]:
    """The paper's rule (L <= Q(low), or Q(high) <= L <= Q(max)) and its ablations, group by group."""
    lengths = exact_lengths(case)
    known = [length for length in lengths if length is not None]
    if not known:
        return [False] * len(lengths)
    short, long, cap = exact_bounds(known, case.band)

    def kept(length: Fraction | None) -> bool:
        if length is None:
            return False
        is_short, is_long = length <= short, long <= length <= cap
        return {
            "both": is_short or is_long, "short": is_short, "long": is_long, "middle": short < length < long,
        }[case.band.keep]  # fmt: skip

    return [kept(length) for length in lengths]


@settings(max_examples=100, deadline=None)
@given(cases())
def test_equals_the_definition_in_fractions(case: Case) -> None:
    decision = case.band.decide(case.pool, iteration=0)
    assert decision.keep.tolist() == by_definition(case)


@settings(max_examples=50, deadline=None)
@given(cases(thresholds="value"))
def test_value_thresholds_equal_the_definition_in_fractions(case: Case) -> None:
    assert case.band.decide(case.pool, iteration=0).keep.tolist() == by_definition(case)


@settings(max_examples=50, deadline=None)
@given(cases())
def test_select_equals_decide(case: Case) -> None:
    lengths = group_length(case.pool.lengths, case.pool.accuracy, statistic=case.band.statistic)
    assert torch.equal(case.band.select(lengths), case.band.decide(case.pool, iteration=3).keep)


@settings(max_examples=50, deadline=None)
@given(cases(), st.randoms())
def test_a_permuted_pool_gives_the_permuted_decision(case: Case, source: Any) -> None:
    order = list(range(len(case.lengths)))
    source.shuffle(order)
    shuffled = Case([case.lengths[i] for i in order], [case.accuracy[i] for i in order], case.band)
    before, after = case.band.decide(case.pool, 0), case.band.decide(shuffled.pool, 0)
    assert after.keep.tolist() == before.keep[order].tolist()
    assert after.reasons == [before.reasons[i] for i in order]
    assert after.thresholds == before.thresholds
    assert before.distance is not None
    assert after.distance is not None
    assert torch.equal(after.distance, before.distance[order])


@settings(max_examples=50, deadline=None)
@given(cases())
def test_distance_is_to_the_nearest_kept_length(case: Case) -> None:
    decision = case.band.decide(case.pool, 0)
    lengths = exact_lengths(case)
    known = [length for length in lengths if length is not None]
    assert decision.distance is not None
    assert [distance == 0 for distance in decision.distance.tolist()] == decision.keep.tolist()
    assert decision.distance.isinf().tolist() == [length is None for length in lengths]
    if known:
        short, long, cap = exact_bounds(known, case.band)
        ranges = {"both": [(0, short), (long, cap)], "short": [(0, short)], "long": [(long, cap)],
                  "middle": [(short, long)]}[case.band.keep]  # fmt: skip
        for length, distance in zip(lengths, decision.distance.tolist(), strict=True):
            if length is not None:
                nearest = min(max(first - length, 0) + max(length - last, 0) for first, last in ranges)
                assert distance == pytest.approx(float(nearest), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(cases())
def test_reasons_say_where_a_group_lies(case: Case) -> None:
    decision = case.band.decide(case.pool, 0)
    lengths = [None if length is None else float(length) for length in exact_lengths(case)]
    for kept, reason, length in zip(decision.keep.tolist(), decision.reasons, lengths, strict=True):
        assert kept == (reason == "kept")
        assert (length is None) == (reason == "no_length")
        short, long, cap = (decision.thresholds.get(name, 0) for name in ("length_low", "length_high", "length_max"))
        if reason == "length_middle":
            assert short < length < long
        if reason == "length_above_max":
            assert length > cap
        if reason == "length_short":
            assert length <= short
        if reason == "length_long":
            assert long <= length <= cap


@pytest.mark.parametrize(
    ("groups", "quantile", "short", "long"),
    [
        (2, "linear", 1, 0), (2, "inverted_cdf", 1, 1),
        (3, "linear", 1, 0), (3, "inverted_cdf", 1, 2),
        (4, "linear", 1, 1), (4, "inverted_cdf", 2, 2),
        (10, "linear", 3, 3), (10, "inverted_cdf", 3, 4),
        (32, "linear", 10, 9), (32, "inverted_cdf", 10, 11),
        (512, "linear", 154, 153), (512, "inverted_cdf", 154, 155),
    ],
)  # fmt: skip
def test_small_pools(groups: int, quantile: str, short: int, long: int) -> None:
    # How many are kept does not depend on what the lengths are, as long as they differ.
    lengths = torch.rand(groups, dtype=torch.float64) * 1000
    counts = [
        int(LengthBand(low=0.3, high=0.65, max=0.95, quantile=quantile, keep=keep).select(lengths).sum())
        for keep in ("short", "long", "both")
    ]
    assert counts == [short, long, short + long]


def test_equals_the_authors_numpy_lines() -> None:
    lengths = torch.randint(1, 2000, (200, 8)).double()
    mean = lengths.numpy().mean(axis=1)
    low, high, cap = (np.percentile(mean, percent) for percent in (30, 60, 90))
    expected = (mean <= low) | ((mean >= high) & (mean <= cap))
    band = LengthBand(low=0.3, high=0.6, max=0.9, quantile="linear")
    assert band.select(torch.from_numpy(mean)).tolist() == expected.tolist()
    low, high, cap = (np.quantile(mean, share, method="inverted_cdf") for share in (0.301, 0.651, 0.951))
    expected = (mean <= low) | ((mean >= high) & (mean <= cap))
    assert LengthBand(low=0.301, high=0.651, max=0.951).select(torch.from_numpy(mean)).tolist() == expected.tolist()


def test_value_cap_counts_from_the_least_length() -> None:
    # 100 + 0.98 * (200 - 100) = 198; the authors' line reads 0.98 * 200 = 196.
    lengths = torch.tensor([100.0, 150.0, 197.0, 198.0, 199.0, 200.0])
    band = LengthBand(low=0.3, high=0.7, max=0.98, thresholds="value")
    assert band.bounds(lengths) == (130.0, 170.0, 198.0)
    assert band.select(lengths).tolist() == [True, False, True, True, False, False]


@pytest.mark.parametrize(
    ("tokens", "responses", "share", "keep"),
    [
        # 0.29 * 100 is 28.999999999999996 in floats
        ([0, 29, 100], 1, 0.29, "short"),
        # and thirds, as means of three responses are, are not exact: from 1/3 six tenths up to 11/3 is not 7/3
        ([1, 7, 11], 3, 0.6, "short"),
        ([1, 4, 7], 3, 0.5, "long"),
    ],
)
def test_value_bounds_are_inclusive_where_floats_are_not(
    tokens: list[int], responses: int, share: float, keep: str
) -> None:
    lengths = torch.tensor(tokens, dtype=torch.float64) / responses
    band = LengthBand(low=share, high=share, max=None, thresholds="value", keep=keep)
    assert band.select(lengths).tolist() == [keep == "short", True, keep == "long"]


def test_a_pool_of_equals_is_short() -> None:
    for thresholds in ("percentile", "value"):
        lengths = torch.full((5,), 0.1 + 0.2, dtype=torch.float64)
        assert LengthBand(thresholds=thresholds).select(lengths).all()


def test_only_the_correct_responses_count_where_asked() -> None:
    # Means 10, 20, 30, 40; of the correct ones 19, 2, 3, none.
    pool = make_pool(
        [[1.0, 19.0], [2.0, 38.0], [3.0, 57.0], [4.0, 76.0]], [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    )
    decision = LengthBand(low=0.4, high=0.9, statistic="correct_mean").decide(pool, 0)
    # Of the known lengths 2, 3, 19, Q(0.4) is the second, Q(0.9) and Q(0.95) are the third.
    assert decision.reasons == ["kept", "kept", "kept", "no_length"]
    assert decision.thresholds == {"length_low": 3.0, "length_high": 19.0, "length_max": 19.0}
    assert decision.pool_size == 3


def test_a_pool_without_any_length_keeps_nothing() -> None:
    band = LengthBand(statistic="correct_mean")
    pool = make_pool([[1.0, 2.0]] * 3, [[0.0, 0.0]] * 3)
    decision = band.decide(pool, 0)
    assert decision.reasons == ["no_length"] * 3
    assert decision.pool_size == 0
    assert decision.distance is not None
    assert decision.distance.tolist() == [torch.inf] * 3
    empty = band.decide(pool.where(torch.zeros(3, dtype=torch.bool)), 0)
    assert (empty.reasons, empty.pool_size) == ([], 0)


@pytest.mark.parametrize(
    "shares",
    [
        {"low": 0.7, "high": 0.65},
        {"high": 0.96},
        {"low": -0.1},
        {"max": 1.5},
        {"low": math.nan},
    ],
)
def test_shares_are_checked(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Expected 0 <= low <= high <= max <= 1 as shares of the pool, but got low="):
        LengthBand(**shares)


@pytest.mark.parametrize("name", ["quantile", "thresholds", "keep", "statistic"])
def test_names_are_checked(name: str) -> None:
    band = LengthBand()
    object.__setattr__(band, name, "nearest")  # past the type checker of the tests
    with pytest.raises(ValueError, match=f"Expected `{name}` to be one of .*, but got 'nearest'"):
        band.__post_init__()
