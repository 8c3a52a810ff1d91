from __future__ import annotations

from dataclasses import replace

import torch

from lspo.sampling import Decision, GroupStats
from lspo.testing import make_pool

FIELDS = ("draw_index", "lengths", "accuracy", "rewards", "truncated")


def same(first: GroupStats, second: GroupStats) -> bool:
    names = list(first.prompt_ids) == list(second.prompt_ids)
    return names and all(torch.equal(getattr(first, name), getattr(second, name)) for name in FIELDS)


def test_where_takes_whole_rows_in_their_order() -> None:
    pool = make_pool([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], rewards=[[0.0, 0.1], [0.2, 0.3], [0.4, 0.5]], first_index=7)
    some = pool.where(torch.tensor([True, False, True]))
    assert len(some) == 2
    assert some.draw_index.tolist() == [7, 9]
    assert some.prompt_ids == ["prompt-7", "prompt-9"]
    assert some.lengths.tolist() == [[1.0, 2.0], [5.0, 6.0]]
    assert some.rewards.tolist() == [[0.0, 0.1], [0.4, 0.5]]
    assert some.accuracy.shape == some.truncated.shape == (2, 2)


def test_concatenate_puts_parts_together_again_empty_ones_too() -> None:
    pool = make_pool([[float(n), 2.0] for n in range(5)])
    cuts = [slice(0, 2), slice(2, 2), slice(2, 5)]
    masks = [torch.tensor([place in range(5)[cut] for place in range(5)]) for cut in cuts]
    assert same(GroupStats.concatenate([pool.where(mask) for mask in masks]), pool)


def test_pool_size_counts_the_relative_rules_pool() -> None:
    keep = torch.tensor([True, False, False])
    reasons = ["kept", "a", "b"]
    assert Decision(keep, reasons).pool_size is None
    assert Decision(keep, reasons, in_pool=torch.tensor([True, True, False])).pool_size == 2


def test_where_takes_what_was_cut_with_its_group() -> None:
    pool = replace(make_pool([[1.0], [2.0], [3.0]]), truncated=torch.tensor([[True], [False], [True]]))
    assert pool.where(torch.tensor([False, True, True])).truncated.tolist() == [[False], [True]]
