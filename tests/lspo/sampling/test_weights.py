"""Bounds of groups that were drawn with known, unequal probabilities are those of the uniform draw."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lspo.sampling import AccuracyBand, Annealed, Chain, GroupStats, KeepAll, LengthBand, RelativeAccuracyBand
from lspo.sampling.quantile import quantile

VALUES = st.lists(st.integers(1, 9), min_size=1, max_size=30)
SHARES = st.sampled_from([0.0, 0.07, 0.3, 0.5, 0.65, 0.95, 1.0])


def pool(lengths: Tensor, weights: Tensor | None = None) -> GroupStats:
    """Mixed groups of two responses of these lengths."""
    count = len(lengths)
    accuracy = torch.tensor([[0.0, 1.0]]).expand(count, 2)
    return GroupStats(
        torch.arange(count), [""] * count, lengths[:, None].expand(count, 2), accuracy, accuracy,
        torch.zeros(count, 2, dtype=torch.bool), weights,
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(VALUES, SHARES, st.sampled_from([1.0, 0.1, 3.0, 7.3e-5]))
def test_equal_weights_change_nothing(values: list[int], share: float, weight: float) -> None:
    table = torch.tensor(values, dtype=torch.float64)
    weights = torch.full((len(values),), weight, dtype=torch.float64)
    assert quantile(table, share, weights=weights) == quantile(table, share)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), min_size=1, max_size=25), SHARES)
def test_a_weight_is_a_number_of_copies(items: list[tuple[int, int]], share: float) -> None:
    """Ties with a share included: whole weights are as many groups of one weight."""
    values = torch.tensor([float(value) for value, _ in items], dtype=torch.float64)
    weights = torch.tensor([count for _, count in items], dtype=torch.float64)
    copies = torch.tensor([float(value) for value, count in items for _ in range(count)], dtype=torch.float64)
    assert quantile(values, share, weights=weights) == quantile(copies, share)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.floats(1.0, 10.0)), min_size=1, max_size=25), SHARES)
def test_the_weighted_quantile_in_fractions(items: list[tuple[int, float]], share: float) -> None:
    exact = Fraction(repr(share)) * sum(Fraction(weight) for _, weight in items)
    expected = min(
        value for value, _ in items if sum(Fraction(weight) for other, weight in items if other <= value) >= exact
    )
    values = torch.tensor([float(value) for value, _ in items], dtype=torch.float64)
    weights = torch.tensor([weight for _, weight in items], dtype=torch.float64)
    assert quantile(values, share, weights=weights) == expected


def test_a_share_that_floats_miss() -> None:
    # 0.1 + 0.2 is more than 0.3 in floats, and less than the sum of these two: the shares decide in fractions.
    weights = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
    values = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    total = sum(map(Fraction, weights.tolist()))
    expected = 2.0 if Fraction(0.1) + Fraction(0.2) >= Fraction("0.3") * total else 3.0
    assert quantile(values, 0.3, weights=weights) == expected
    # By hand: 3 of 10 are at most 1, so Q(.3) = 1; the next share needs the second.
    thirds = torch.tensor([3.0, 4.0, 3.0], dtype=torch.float64)
    assert [quantile(values, share, weights=thirds) for share in (0.3, 0.31, 0.7, 0.71)] == [1.0, 2.0, 2.0, 3.0]


def thinned_pools(count: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lengths of prompts, whether each was drawn, and with which probability: long prompts are rarely drawn."""
    source = torch.Generator().manual_seed(0)
    lengths = (400 * (0.5 * torch.randn(count, size, generator=source, dtype=torch.float64)).exp()).round()
    chances = (lengths / 400).reciprocal().pow(2).clamp(0.1, 1.0)
    return lengths, torch.rand(count, size, generator=source, dtype=torch.float64) < chances, chances


def test_weighted_counts_are_those_of_the_uniform_draw() -> None:
    """At fixed lengths, over 2,000 pools, within 4 standard errors; the plain counts are far off."""
    lengths, drawn, chances = thinned_pools(2000, 150)
    for bound in (250.0, 400.0, 700.0):
        below = lengths <= bound
        weighted = (drawn * below / chances).sum(dim=1) - below.sum(dim=1)
        error = float(weighted.std()) / math.sqrt(len(weighted))
        assert abs(float(weighted.mean())) <= 4 * error
        plain = (drawn & below).sum(dim=1) / drawn.sum(dim=1) - below.double().mean(dim=1)
        assert float(plain.mean()) > 0.02


def test_thresholds_are_those_of_the_uniform_draw() -> None:
    """The share of all prompts below each bound, over pools of an effective size of 64 and more.

    The quantiles of 64 groups without weights are off by .009, .003 and .011: samples of that size are.
    """
    lengths, drawn, chances = thinned_pools(300, 250)
    everything = lengths.flatten().sort().values
    band = LengthBand()
    shares = []
    for own, taken, chance in zip(lengths, drawn, chances, strict=True):
        stats = pool(own[taken], 1 / chance[taken])
        assert stats.effective_size >= 64
        bounds = torch.tensor(list(band.decide(stats, 0).thresholds.values()), dtype=torch.float64)
        shares.append(torch.searchsorted(everything, bounds, right=True) / len(everything))
    off = torch.stack(shares).mean(dim=0) - torch.tensor([0.3, 0.65, 0.95])
    assert float(off.abs().max()) <= 0.012
    plain = band.decide(pool(lengths[0][drawn[0]]), 0).thresholds["length_high"]
    assert float((everything <= plain).double().mean()) < 0.6


def test_effective_size_by_hand() -> None:
    lengths = torch.tensor([1.0, 2.0, 3.0])
    # (1 + 1 + 2)^2 / (1 + 1 + 4)
    assert pool(lengths, torch.tensor([1.0, 1.0, 2.0])).effective_size == pytest.approx(16 / 6)
    assert pool(lengths, torch.full((3,), 0.1)).effective_size == 3
    assert pool(lengths).effective_size == 3


def test_stats_keep_their_weights() -> None:
    one = pool(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0]))
    both = GroupStats.concatenate([one, pool(torch.tensor([3.0]))])
    assert both.weights is not None
    assert both.weights.tolist() == [2.0, 3.0, 1.0]
    chosen = both.where(torch.tensor([False, True, True])).weights
    assert chosen is not None
    assert chosen.tolist() == [3.0, 1.0]
    assert GroupStats.concatenate([pool(torch.tensor([3.0]))] * 2).weights is None


@pytest.mark.parametrize("band", [LengthBand, RelativeAccuracyBand])
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"quantile": "linear"}, r"`quantile='linear'`.*Set `quantile='inverted_cdf'`"),
        ({"thresholds": "value"}, r"`thresholds='value'`.*Set `thresholds='percentile'`"),
    ],
)
def test_rules_without_a_meaning_for_weights_are_refused(
    band: type[LengthBand | RelativeAccuracyBand], setting: dict[str, str], message: str
) -> None:
    selector = band(**setting)  # type: ignore[arg-type]
    for whole in (selector, Chain(AccuracyBand(), selector)):
        with pytest.raises(ValueError, match=message):
            whole.check_weights()
    lengths = torch.tensor([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=message):
        selector.decide(pool(lengths, torch.tensor([1.0, 2.0, 1.0])), 0)
    # Alike, they are no weights.
    selector.decide(pool(lengths, torch.full((3,), 2.0)), 0)
    Annealed(LengthBand(), LengthBand(low=0.2), iterations=2).check_weights()
    KeepAll().check_weights()


@pytest.mark.parametrize("weights", [[1.0, 0.0, 2.0], [1.0, math.inf, 2.0]])
def test_weights_out_of_range_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="Expected weights above 0 and finite"):
        quantile(torch.tensor([1.0, 2.0, 3.0]), 0.3, weights=torch.tensor(weights))
