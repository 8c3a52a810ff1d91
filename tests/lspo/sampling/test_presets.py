"""The published rules, against versions written in plain Python from the paper and from the authors' table."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from lspo.collecting.collect import collect
from lspo.collecting.plan import CollectPlan
from lspo.rollout import Sampling
from lspo.sampling import AccuracyBand, AuthorsCodeLSPO, Chain, GroupSelector, LengthBand, PaperLSPO
from lspo.testing import ListPrompts, ScriptedEngine, ScriptedResponse, ScriptedReward, hashed, make_pool

Table = list[list[int]]
Rule = Callable[[Table, Table], list[bool]]


def survivors_of(correct: Table) -> list[int]:
    return [place for place, row in enumerate(correct) if 0 < sum(row) < len(row)]


def paper(lengths: Table, correct: Table) -> list[bool]:
    """L(q) = sum |o_i| / G; keep L <= Q(.3) or Q(.65) <= L <= Q(.95); Q(a) = inf{t: F(t) >= a} over the survivors."""
    survivors = survivors_of(correct)
    mean = {place: Fraction(sum(lengths[place]), len(lengths[place])) for place in survivors}

    def q(a: Fraction) -> Fraction:
        for t in sorted(mean.values()):
            if Fraction(sum(length <= t for length in mean.values()), len(mean)) >= a:
                return t
        raise AssertionError

    if not survivors:
        return [False] * len(lengths)
    low, high, most = q(Fraction(30, 100)), q(Fraction(65, 100)), q(Fraction(95, 100))
    return [place in mean and (mean[place] <= low or high <= mean[place] <= most) for place in range(len(lengths))]


def authors(lengths: Table, correct: Table) -> list[bool]:
    """As their script's table has it: 30, 60 and 90 of numpy's percentile, which interpolates."""
    survivors = survivors_of(correct)
    if not survivors:
        return [False] * len(lengths)
    mean = {place: float(np.mean(lengths[place])) for place in survivors}
    low, high, most = np.percentile(list(mean.values()), [30, 60, 90])
    return [place in mean and bool(mean[place] <= low or high <= mean[place] <= most) for place in range(len(lengths))]


def near_a_bound(lengths: Table, correct: Table) -> bool:
    """Whether numpy's rounding decides: an interpolated bound within a rounding of a length that it is not made of."""
    mean = [float(np.mean(lengths[place])) for place in survivors_of(correct)]
    bounds = np.percentile(mean, [30, 60, 90]) if mean else []
    return any(0 < abs(length - bound) < 1e-9 for length in mean for bound in bounds)


PRESETS = [(PaperLSPO(), paper), (AuthorsCodeLSPO(), authors)]


@pytest.mark.parametrize(("preset", "rule"), PRESETS, ids=["paper", "authors"])
def test_equals_the_rule_as_published(preset: GroupSelector, rule: Rule) -> None:
    source = random.Random(7)
    checked = 0
    for _ in range(1000):
        groups = source.choice([1, 2, 3, 4, 5, 10, 32])
        group_size = source.choice([2, 3, 8])
        longest = source.choice([2, 9, 2048])  # ties everywhere, some, hardly any
        lengths = [[source.randint(1, longest) for _ in range(group_size)] for _ in range(groups)]
        correct = [[source.randint(0, 1) for _ in range(group_size)] for _ in range(groups)]
        if rule is authors and near_a_bound(lengths, correct):
            continue
        checked += 1
        floats = [[[float(x) for x in row] for row in table] for table in (lengths, correct)]
        assert preset.decide(make_pool(*floats), iteration=0).keep.tolist() == rule(lengths, correct)
    assert checked > 900


@pytest.mark.parametrize("round_prompts", [4, 12, 40])
@pytest.mark.parametrize(("preset", "rule"), PRESETS, ids=["paper", "authors"])
def test_a_collection_equals_the_loop_as_published(preset: GroupSelector, rule: Rule, round_prompts: int) -> None:
    """Rounds of a fixed size, each by its own bounds, until N are kept; surplus is cut in the order of drawing."""
    for seed in range(15):
        wanted, group_size = 10, 4

        def length(key: int, sample: int, seed: int = seed) -> int:
            return 1 + hashed("length", seed, key, sample) % 12

        def right(key: int, sample: int, seed: int = seed) -> int:
            return hashed("right", seed, key, sample) % 2

        report = collect(
            ListPrompts(64),
            ScriptedEngine(lambda key, sample: ScriptedResponse(length(key, sample), f"{right(key, sample)}")),
            ScriptedReward(lambda response: response.text == "1"),
            preset,
            CollectPlan(
                iteration=0,
                train_groups=wanted,
                group_size=group_size,
                round_prompts=round_prompts,
                max_rounds=50,
                min_pool=0,
                pool="round",
                sampling=Sampling(max_response_tokens=50),
            ),
        )
        chosen: list[int] = []
        rounds = 0
        while len(chosen) < wanted:
            drawn = range(rounds * round_prompts, (rounds + 1) * round_prompts)
            tables = [
                [[value(key, sample) for sample in range(group_size)] for key in drawn] for value in (length, right)
            ]
            chosen += [key for key, keep in zip(drawn, rule(*tables), strict=True) if keep]
            rounds += 1
        assert [group.draw_index for group in report.groups] == chosen[:wanted]
        assert len(report.rounds) == rounds


def test_the_presets_are_chains_of_what_they_say() -> None:
    assert PaperLSPO().selectors == (AccuracyBand(), LengthBand(low=0.3, high=0.65, max=0.95))
    assert AuthorsCodeLSPO().selectors == (AccuracyBand(), LengthBand(low=0.3, high=0.6, max=0.9, quantile="linear"))


@pytest.mark.parametrize(
    ("groups", "linear", "inverted"),
    [(1, (1, 0), (1, 0)), (2, (1, 0), (1, 1)), (3, (1, 0), (1, 2)), (4, (1, 1), (2, 2)), (10, (3, 3), (3, 4))],
)
def test_small_pools(groups: int, linear: tuple[int, int], inverted: tuple[int, int]) -> None:
    """Short and long groups that the shares 0.30 / 0.65 / 0.95 keep of few; decided by ranks alone."""
    pool = make_pool([[7.0 * (place + 1)] * 2 for place in range(groups)])
    for quantile, expected in (("linear", linear), ("inverted_cdf", inverted)):
        band = LengthBand(quantile=quantile)
        decision = Chain(AccuracyBand(), band).decide(pool, 0)
        low = decision.thresholds["length_low"]
        kept = [
            length for length, keep in zip(pool.lengths[:, 0].tolist(), decision.keep.tolist(), strict=True) if keep
        ]
        assert (sum(length <= low for length in kept), sum(length > low for length in kept)) == expected


def test_bounds_rise_with_the_shares() -> None:
    pool = make_pool([[float(1 + hashed(place) % 500)] * 2 for place in range(100)])
    for preset, _ in PRESETS:
        bounds = preset.decide(pool, 0).thresholds
        assert all(x <= y for x, y in pairwise([bounds["length_low"], bounds["length_high"], bounds["length_max"]]))
