from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from lspo.collecting.plan import CollectPlan
from lspo.collecting.pool import judge
from lspo.sampling import (
    AccuracyBand,
    Annealed,
    AuthorsCodeLSPO,
    Chain,
    Decision,
    GroupSelector,
    GroupStats,
    KeepAll,
    LengthBand,
    PaperLSPO,
)
from lspo.testing import hashed, make_pool

START, END = LengthBand(low=0.3, high=0.65, max=0.95), LengthBand(low=0.5, high=0.5, max=1.0)


def random_pool(groups: int, seed: int = 0) -> GroupStats:
    def number(*parts: Any, below: int) -> float:
        return float(hashed(seed, *parts) % below)

    places = [[(place, sample) for sample in range(4)] for place in range(groups)]
    return make_pool(
        [[1 + number("length", *key, below=40) for key in row] for row in places],
        [[number("right", *key, below=2) for key in row] for row in places],
    )


def test_values_of_a_linear_schedule() -> None:
    annealed = Annealed(START, END, iterations=10, first=5)
    assert annealed.at(0) == annealed.at(5) == START
    # A tenth of the way: 0.3 + 0.02, 0.65 - 0.015, 0.95 + 0.005
    assert annealed.at(6) == LengthBand(low=0.32, high=0.635, max=0.955)
    assert annealed.at(10) == LengthBand(low=0.4, high=0.575, max=0.975)
    assert annealed.at(15) == annealed.at(10_000) == END


def test_values_of_a_cosine_schedule() -> None:
    annealed = Annealed(START, END, iterations=10, schedule="cosine")
    # (1 - cos(pi / 2)) / 2 = 1/2, and (1 - cos(pi / 5)) / 2 = 0.0955 at two tenths.
    assert [annealed.progress(n) for n in (0, 2, 5, 10, 99)] == pytest.approx([0, 0.0954915, 0.5, 1, 1])
    assert annealed.at(0) == START
    assert annealed.at(5) == LengthBand(low=0.4, high=0.575, max=0.975)
    assert annealed.at(10) == END


def test_shares_are_the_decimals_one_would_write() -> None:
    """0.3 + 0.5 * 0.1 is 0.35 plus 2**-54: the rank of it in 100 groups would be 36 and not 35."""
    annealed = Annealed(LengthBand(low=0.3), LengthBand(low=0.4), iterations=100)
    assert [annealed.at(n).low for n in range(101)] == [float(f"0.{300 + n}") for n in range(101)]


@pytest.mark.parametrize("iteration", [0, 3, 7, 10, 50])
def test_decides_as_the_selector_of_the_iteration(iteration: int) -> None:
    annealed = Annealed(START, END, iterations=10)
    for seed in range(10):
        pool = random_pool(30, seed)
        mine, expected = annealed.decide(pool, iteration), annealed.at(iteration).decide(pool, iteration)
        assert torch.equal(mine.keep, expected.keep)
        assert mine.reasons == expected.reasons
        assert mine.pool_size == expected.pool_size
        shares = {"annealed_low": annealed.at(iteration).low, "annealed_high": annealed.at(iteration).high,
                  "annealed_max": annealed.at(iteration).max}  # fmt: skip
        assert mine.thresholds == expected.thresholds | shares


def test_a_link_of_a_chain_and_a_chain_of_links() -> None:
    inner = Chain(AccuracyBand(), Annealed(START, END, iterations=4))
    outer = Annealed(Chain(AccuracyBand(), START), Chain(AccuracyBand(), END), iterations=4)
    plain = [Chain(AccuracyBand(), band) for band in (START, LengthBand(0.4, 0.575, 0.975), END)]
    pool = random_pool(60)
    for iteration, expected in zip((0, 2, 4), plain, strict=True):
        for selector in (inner, outer):
            plan = CollectPlan(iteration=iteration, train_groups=4, group_size=4, round_prompts=8, min_pool=0)
            assert torch.equal(judge([pool], selector, plan).decision.keep, expected.decide(pool, iteration).keep)
    assert "annealed_low" in inner.decide(pool, 2).thresholds
    assert outer.decide(pool, 2).thresholds["annealed_1_low"] == 0.4
    kept = [int(inner.decide(pool, iteration).keep.sum()) for iteration in range(5)]
    assert kept == sorted(kept)
    assert kept[0] < kept[4] == int(AccuracyBand().decide(pool, 0).keep.sum())


def test_accuracy_bounds_and_presets() -> None:
    annealed = Annealed(AccuracyBand(0.0, 1.0), AccuracyBand(0.25, 0.75), iterations=2)
    assert annealed.at(1) == AccuracyBand(0.125, 0.875)
    with pytest.raises(ValueError, match="same class, but got PaperLSPO and AuthorsCodeLSPO"):
        Annealed(PaperLSPO(), AuthorsCodeLSPO(), iterations=2)


@dataclass(frozen=True)
class Counted(GroupSelector):
    """A user's own, with a whole number."""

    most: int
    strict: bool = False

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        keep = torch.arange(len(pool)) < self.most
        return Decision(keep, ["kept" if kept else "late" for kept in keep.tolist()])


class Unlisted(GroupSelector):
    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        raise NotImplementedError


def test_whole_numbers_stay_whole() -> None:
    annealed = Annealed(Counted(2), Counted(7), iterations=4)
    assert [annealed.at(n) for n in range(5)] == [Counted(n) for n in (2, 3, 4, 6, 7)]
    assert all(isinstance(annealed.at(n).most, int) for n in range(5))
    pool = random_pool(9)
    assert [int(annealed.decide(pool, n).keep.sum()) for n in range(5)] == [2, 3, 4, 6, 7]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (LengthBand(), AccuracyBand(), "of the same class, but got LengthBand and AccuracyBand"),
        (LengthBand(), LengthBand(max=None), "`max` to be a number, or equal, .* but got 0.95 and None.* 1.0 is none"),
        (LengthBand(), LengthBand(keep="short"), "`keep` to be a number, or equal, .* but got 'both' and 'short'"),
        (Counted(2), Counted(2, strict=True), "`strict` to be a number, or equal, .* but got False and True"),
        (LengthBand(), LengthBand(), "two selectors with different settings .* but got LengthBand"),
        (KeepAll(), KeepAll(), "two selectors with different settings"),
        (Unlisted(), Unlisted(), "Unlisted is not a dataclass"),
        (Chain(LengthBand()), Chain(AccuracyBand(), LengthBand()), "equal length, but got 1 and 2 selectors"),
        (Chain(AccuracyBand()), Chain(LengthBand()), "of the same class, but got AccuracyBand and LengthBand"),
        (Annealed(START, END, 3), Annealed(START, END, 4), "Annealed is not a dataclass"),
    ],
)
def test_what_cannot_be_gone_between_is_refused_at_once(start: GroupSelector, end: GroupSelector, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Annealed(start, end, iterations=10)


def test_caps_that_are_both_none_stay_none() -> None:
    annealed = Annealed(LengthBand(low=0.3, max=None), LengthBand(low=0.5, max=None), iterations=2)
    assert annealed.at(1) == LengthBand(low=0.4, max=None)


@pytest.mark.parametrize(("name", "value"), [("iterations", 0), ("first", -1)])
def test_counts_are_checked(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"Expected `{name}` to be at least .*, but got {value}"):
        Annealed(START, END, **{"iterations": 2, name: value})
