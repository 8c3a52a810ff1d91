from __future__ import annotations

import math

import pytest
import torch

from lspo.prediction.lengths import LogScale, RankScale


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_ranks_by_hand() -> None:
    scale = RankScale(3)
    scale.add(tensor(10, 20, 20, 40), tensor(1, 1, 1, 1))
    # Mid-ranks .125, .5 (1 and 3 of 4), .875; 25 lies above 3 of 4; 5 and 99 get half a group.
    shares = torch.special.ndtr(scale.score(tensor(10, 20, 40, 25, 5, 99)))
    assert shares.tolist() == pytest.approx([0.125, 0.5, 0.875, 0.75, 0.125, 0.875])
    assert scale.bound(0.5) == pytest.approx(0.0)
    assert scale.bound(0.95) == pytest.approx(1.6449, abs=1e-4)
    # A group that stands for 5 moves the others.
    heavy = RankScale(3)
    heavy.add(tensor(10, 20, 20, 40), tensor(5, 1, 1, 1))
    assert torch.special.ndtr(heavy.score(tensor(10, 20))).tolist() == pytest.approx([2.5 / 8, 6 / 8])


def test_logs_by_hand() -> None:
    scale = LogScale(3)
    scale.add(tensor(math.e, math.e**3), tensor(1, 1))
    assert scale.score(tensor(math.e**2, math.e**3)).tolist() == pytest.approx([0.0, 1.0], abs=1e-6)
    assert scale.bound(0.5) == pytest.approx(-1.0, abs=1e-6)
    assert scale.bound(1.0) == math.inf


@pytest.mark.parametrize("kind", [RankScale, LogScale])
def test_pools_of_the_last_iterations_count(kind: type[RankScale | LogScale]) -> None:
    scale, fresh = kind(2), kind(2)
    assert scale.empty
    for first in (1.0, 100.0, 1000.0):
        scale.add(tensor(first, 2 * first), tensor(1, 2))
    fresh.load(list(scale.pools))
    assert not scale.empty
    other = kind(2)
    for first in (100.0, 1000.0):
        other.add(tensor(first, 2 * first), tensor(1, 2))
    lengths = tensor(50, 150, 1500)
    assert torch.equal(scale.score(lengths), other.score(lengths))
    assert torch.equal(scale.score(lengths), fresh.score(lengths))


def test_equal_lengths_have_equal_ranks_whatever_the_group_size() -> None:
    """A mean of 6 responses, as 50/6, is no float32 number: it has to be equal to itself."""
    lengths = tensor(*([50 / 6] * 4), *([70 / 6] * 4))
    scale = RankScale(1)
    scale.add(lengths, torch.ones(8, dtype=torch.float64))
    scores = scale.score(lengths)
    # Mid-ranks of two halves: a quarter and three quarters.
    assert scores[:4].tolist() == pytest.approx([-0.67449] * 4, abs=1e-4)
    assert scores[4:].tolist() == pytest.approx([0.67449] * 4, abs=1e-4)
