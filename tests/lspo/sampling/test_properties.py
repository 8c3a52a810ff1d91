"""What holds for every selector: the order of rows, and how they were cut, do not matter; odd pools are no error."""

from __future__ import annotations

import math
import random

import pytest
import torch

from lspo.collecting.plan import CollectPlan
from lspo.collecting.pool import judge
from lspo.sampling import (
    AccuracyBand,
    Annealed,
    AuthorsCodeLSPO,
    Chain,
    GroupSelector,
    GroupStats,
    KeepAll,
    LengthBand,
    PaperLSPO,
    RelativeAccuracyBand,
)
from lspo.testing import make_pool

SELECTORS: list[GroupSelector] = [
    KeepAll(),
    AccuracyBand(),
    AccuracyBand(low=0.25, high=0.75, inclusive=True),
    LengthBand(quantile="linear", keep="middle"),
    LengthBand(thresholds="value", statistic="correct_mean", max=None),
    RelativeAccuracyBand(),
    RelativeAccuracyBand(thresholds="value", keep="high"),
    PaperLSPO(),
    AuthorsCodeLSPO(),
    Chain(AccuracyBand(), RelativeAccuracyBand(keep="middle"), LengthBand(low=0.5, high=0.5, max=1.0)),
    Annealed(PaperLSPO().selectors[1], LengthBand(low=0.5, high=0.5, max=1.0), iterations=7, schedule="cosine"),
]
NAMES = [f"{place}-{type(selector).__name__}" for place, selector in enumerate(SELECTORS)]


def random_pool(source: random.Random, groups: int) -> GroupStats:
    longest = source.choice([1, 4, 500])
    return make_pool(
        [[float(source.randint(1, longest)) for _ in range(4)] for _ in range(groups)],
        [[float(source.randint(0, 1)) for _ in range(4)] for _ in range(groups)],
    )


def rows(pool: GroupStats, order: list[int]) -> GroupStats:
    return GroupStats(
        pool.draw_index[order], [pool.prompt_ids[place] for place in order], pool.lengths[order], pool.accuracy[order],
        pool.rewards[order], pool.truncated[order],
    )  # fmt: skip


@pytest.mark.parametrize("selector", SELECTORS, ids=NAMES)
def test_the_order_of_the_rows_does_not_matter(selector: GroupSelector) -> None:
    source = random.Random(1)
    for _ in range(15):
        pool = random_pool(source, source.randint(1, 30))
        order = source.sample(range(len(pool)), len(pool))
        before, after = selector.decide(pool, 3), selector.decide(rows(pool, order), 3)
        assert after.keep.tolist() == before.keep[order].tolist()
        assert after.reasons == [before.reasons[place] for place in order]
        assert after.thresholds == before.thresholds
        assert after.pool_size == before.pool_size
        assert before.distance is not None
        assert after.distance is not None
        assert torch.equal(after.distance, before.distance[order])


@pytest.mark.parametrize("selector", SELECTORS, ids=NAMES)
def test_the_cut_into_rounds_does_not_matter(selector: GroupSelector) -> None:
    source = random.Random(2)
    plan = CollectPlan(iteration=3, train_groups=4, group_size=4, round_prompts=8, min_pool=0)
    for _ in range(15):
        pool = random_pool(source, source.randint(1, 30))
        places = sorted(source.randint(0, len(pool)) for _ in range(3))
        parts = [rows(pool, list(range(a, b))) for a, b in zip([0, *places], [*places, len(pool)], strict=True)]
        whole, judged = selector.decide(pool, 3), judge(parts, selector, plan)
        assert judged.decision.keep.tolist() == whole.keep.tolist()
        assert judged.decision.reasons == whole.reasons
        assert judged.decision.thresholds == whole.thresholds


@pytest.mark.parametrize("selector", SELECTORS, ids=NAMES)
@pytest.mark.parametrize("groups", [0, 1, 2, 3, 4])
def test_few_groups_or_none_get_an_answer_each(selector: GroupSelector, groups: int) -> None:
    source = random.Random(groups)
    for _ in range(5):
        pool = random_pool(source, 4)
        pool = rows(pool, list(range(groups)))
        decision = selector.decide(pool, 3)
        assert len(decision.keep) == len(decision.reasons) == groups
        assert [reason == "kept" for reason in decision.reasons] == decision.keep.tolist()
        assert all(math.isfinite(bound) for bound in decision.thresholds.values())


@pytest.mark.parametrize("selector", SELECTORS, ids=NAMES)
def test_equal_groups_share_one_fate(selector: GroupSelector) -> None:
    # 0.1 + 0.2 is no float: what is computed of equal lengths must stay equal.
    pool = make_pool([[0.1 + 0.2, 0.7, 0.1, 0.3]] * 9, [[1.0, 0.0, 0.0, 1.0]] * 9)
    decision = selector.decide(pool, 3)
    assert len(set(decision.reasons)) == 1
    # They are low and high at once; only a band that keeps neither end drops them.
    ends = "middle" not in repr(selector)
    assert decision.keep.tolist() == [ends] * 9


def test_groups_without_a_length_are_told_and_do_not_move_the_bounds() -> None:
    lengths = [[float(10 * (place + 1))] * 2 for place in range(12)]
    right = [[1.0, 0.0]] * 12
    band = LengthBand(statistic="correct_mean")
    alone = band.decide(make_pool(lengths, right), 0)
    mixed = band.decide(make_pool(lengths + [[5.0, 5.0]] * 7, right + [[0.0, 0.0]] * 7), 0)
    assert mixed.reasons == alone.reasons + ["no_length"] * 7
    assert mixed.thresholds == alone.thresholds
    assert mixed.pool_size == 12
    # As bare lengths too.
    bare = torch.tensor([row[0] for row in lengths] + [math.nan] * 7, dtype=torch.float64)
    assert LengthBand().select(bare).tolist() == mixed.keep.tolist()
    assert RelativeAccuracyBand().select(torch.tensor([math.nan, 0.5]).double()).tolist() == [False, True]
