from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from lspo.objectives.aggregation import mean_of_token_means, mean_of_token_sums, mean_over_tokens

VALUES = torch.tensor([[1.0, 2.0, 3.0], [10.0, 0.0, 0.0], [7.0, 7.0, 7.0]])
MASK = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])


@pytest.mark.parametrize(
    ("aggregate", "counts", "expected"),
    [
        (mean_over_tokens, {}, 4.0),  # (1 + 2 + 3 + 10) / 4
        (mean_over_tokens, {"num_tokens": 32.0}, 0.5),  # 16 / 32
        (mean_over_tokens, {"num_sequences": 32.0}, 4.0),  # which it does not ask for
        (mean_of_token_means, {}, 6.0),  # (6/3 + 10/1) / 2: the response left out counts nowhere
        (mean_of_token_means, {"num_sequences": 8.0}, 1.5),  # 12 / 8
        (mean_of_token_means, {"num_tokens": 8.0}, 6.0),
        (mean_of_token_sums, {}, 8.0),  # (6 + 10) / 2
        (mean_of_token_sums, {"num_sequences": 8.0}, 2.0),
        (mean_of_token_sums, {"num_tokens": 8.0}, 8.0),
    ],
)
def test_by_hand(aggregate, counts, expected):
    assert_close(aggregate(VALUES, MASK, **counts), torch.tensor(expected))


def test_equal_the_loops():
    values = torch.randn(8, 11, dtype=torch.float64)
    mask = torch.rand(8, 11) < 0.4
    mask[3] = False
    rows = [
        [value for value, counts in zip(*row, strict=True) if counts]
        for row in zip(values.tolist(), mask.tolist(), strict=True)
    ]
    rows = [row for row in rows if row]
    everything = [value for row in rows for value in row]
    token_means = [math.fsum(row) / len(row) for row in rows]
    assert math.isclose(mean_over_tokens(values, mask).item(), math.fsum(everything) / len(everything))
    sums = [math.fsum(row) for row in rows]
    assert math.isclose(mean_of_token_sums(values, mask).item(), math.fsum(sums) / len(sums))
    assert math.isclose(mean_of_token_means(values, mask).item(), math.fsum(token_means) / len(token_means))


def test_agree_where_all_responses_are_equally_long():
    values = torch.randn(5, 7, dtype=torch.float64)
    mask = torch.arange(7).expand(5, 7) < 4
    assert_close(mean_over_tokens(values, mask), mean_of_token_means(values, mask))


@pytest.mark.parametrize("aggregate", [mean_over_tokens, mean_of_token_means, mean_of_token_sums])
def test_weight_of_a_token(aggregate):
    """The gradient is the weight: 1 / tokens, 1 / (responses * tokens of its response), or 1 / responses."""
    values = VALUES.clone().requires_grad_()
    aggregate(values, MASK).backward()
    weights = {
        mean_over_tokens: [[1 / 4, 1 / 4, 1 / 4], [1 / 4, 0.0, 0.0], [0.0, 0.0, 0.0]],
        mean_of_token_means: [[1 / 6, 1 / 6, 1 / 6], [1 / 2, 0.0, 0.0], [0.0, 0.0, 0.0]],
        mean_of_token_sums: [[1 / 2, 1 / 2, 1 / 2], [1 / 2, 0.0, 0.0], [0.0, 0.0, 0.0]],
    }[aggregate]
    assert_close(values.grad, torch.tensor(weights))


@pytest.mark.parametrize("aggregate", [mean_over_tokens, mean_of_token_means, mean_of_token_sums])
@pytest.mark.parametrize("counts", [{}, {"num_tokens": 0.0, "num_sequences": 0.0}])
def test_empty_mask_gives_a_zero_with_a_graph(aggregate, counts):
    values = VALUES.clone().requires_grad_()
    total = aggregate(values, torch.zeros_like(MASK), **counts)
    total.backward()
    assert total.item() == 0
    assert torch.all(values.grad == 0)
