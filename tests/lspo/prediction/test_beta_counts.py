from __future__ import annotations

import math

import pytest
import torch

from lspo.prediction.beta_counts import count_probabilities, faded


@pytest.mark.parametrize("right", [0.5, 3.5, 40.0])
@pytest.mark.parametrize("wrong", [0.5, 1.0, 17.5])
@pytest.mark.parametrize("group_size", [2, 8, 16])
def test_it_is_the_beta_binomial(right: float, wrong: float, group_size: int) -> None:
    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    expected = [
        math.comb(group_size, c) * math.exp(log_beta(right + c, wrong + group_size - c) - log_beta(right, wrong))
        for c in range(group_size + 1)
    ]
    found = count_probabilities(torch.tensor([right]), torch.tensor([wrong]), group_size)
    assert found[0].tolist() == pytest.approx(expected, rel=1e-9)
    assert float(found.sum()) == pytest.approx(1.0)


def test_counts_fade_to_where_they_started() -> None:
    # Half of what came on top of .5 is left.
    assert faded(torch.tensor([8.5]), 0.5, torch.tensor([0.5])).tolist() == [4.5]
    assert faded(torch.tensor([8.5]), 0.5, torch.tensor([0.0])).tolist() == [0.5]
