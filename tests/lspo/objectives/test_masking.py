from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import TypeCheckError
from torch.testing import assert_close

from lspo.objectives.masking import masked_extremes, masked_row_mean, masked_sum, sequence_mean, token_mean

NAN = float("nan")
INF = float("inf")

VALUES = [[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [64.0, 128.0, 256.0]]
MASK = [[True, False, True], [False, False, False], [False, True, False]]


@pytest.fixture
def values() -> torch.Tensor:
    return torch.tensor(VALUES)


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.tensor(MASK)


def test_masked_sum_by_hand(values, mask):
    assert_close(masked_sum(values, mask), torch.tensor([5.0, 0.0, 128.0]))  # 1 + 4, nothing, 128


def test_masked_row_mean_by_hand(values, mask):
    assert_close(masked_row_mean(values, mask), torch.tensor([2.5, 0.0, 128.0]))  # 5/2, nothing, 128/1


def test_token_mean_by_hand(values, mask):
    assert_close(token_mean(values, mask), torch.tensor(133.0 / 3))
    assert_close(token_mean(values, mask, num_tokens=10.0), torch.tensor(13.3))


def test_sequence_mean_leaves_out_rows_with_an_empty_mask(mask):
    per_row = torch.tensor([3.0, 100.0, 5.0])
    assert_close(sequence_mean(per_row, mask), torch.tensor(4.0))  # (3 + 5) / 2
    assert_close(sequence_mean(per_row, mask, num_sequences=16.0), torch.tensor(0.5))


def test_masked_extremes_by_hand(values, mask):
    least, greatest = masked_extremes(values, mask)
    assert (least.item(), greatest.item()) == (1.0, 128.0)


def test_masked_extremes_carry_no_gradient(values, mask):
    assert not any(extreme.requires_grad for extreme in masked_extremes(values.requires_grad_(), mask))


@pytest.mark.parametrize("junk", [NAN, INF, -INF, 1e30])
@pytest.mark.parametrize(
    "reduce",
    [
        lambda values, mask: masked_sum(values, mask).sum(),
        lambda values, mask: masked_row_mean(values, mask).sum(),
        token_mean,
        lambda values, mask: sequence_mean(masked_row_mean(values, mask), mask),
    ],
    ids=["masked_sum", "masked_row_mean", "token_mean", "sequence_mean"],
)
def test_values_outside_the_mask_reach_neither_value_nor_gradient(values, mask, reduce, junk):
    clean = values.clone().requires_grad_()
    spoiled = values.masked_fill(~mask, junk).requires_grad_()
    reduce(clean, mask).backward()
    reduce(spoiled, mask).backward()
    assert reduce(spoiled, mask).item() == reduce(clean, mask).item()
    assert torch.equal(spoiled.grad, clean.grad)
    assert torch.all(spoiled.grad[~mask] == 0)
    assert torch.all(spoiled.grad[mask] != 0)


def test_nan_outside_the_mask_does_not_reach_the_extremes(values, mask):
    least, greatest = masked_extremes(values.masked_fill(~mask, NAN), mask)
    assert (least.item(), greatest.item()) == (1.0, 128.0)


def test_nan_of_a_row_with_an_empty_mask_does_not_reach_the_sequence_mean(mask):
    per_row = torch.tensor([3.0, NAN, 5.0], requires_grad=True)
    mean = sequence_mean(per_row, mask)
    mean.backward()
    assert mean.item() == 4.0
    assert per_row.grad.tolist() == [0.5, 0.0, 0.5]


def test_nan_inside_the_mask_is_not_hidden(values, mask):
    values[0, 0] = NAN
    assert math.isnan(token_mean(values, mask).item())


@pytest.mark.parametrize("shape", [(2, 3), (2, 0), (0, 3), (0, 0)])
def test_an_empty_mask_gives_a_zero_with_a_graph(shape):
    values = torch.full(shape, 7.0, requires_grad=True)
    mask = torch.zeros(shape, dtype=torch.bool)
    for mean in (token_mean(values, mask), sequence_mean(masked_row_mean(values, mask), mask)):
        assert mean.item() == 0
        mean.backward()
    assert torch.all(values.grad == 0)
    assert [extreme.item() for extreme in masked_extremes(values, mask)] == [INF, -INF]


def test_a_count_of_zero_does_not_divide_by_zero(values):
    """A rank whose mini-batch has no token at all, and says so."""
    mask = torch.zeros(3, 3, dtype=torch.bool)
    assert token_mean(values, mask, num_tokens=0.0).item() == 0
    assert sequence_mean(masked_row_mean(values, mask), mask, num_sequences=0.0).item() == 0


def test_parts_with_the_counts_of_the_whole_add_up():
    values = torch.randn(12, 5, dtype=torch.float64)
    mask = torch.rand(12, 5) < 0.5
    tokens, sequences = float(mask.sum()), float(mask.any(dim=1).sum())
    parts = list(zip(values.split(5), mask.split(5), strict=True))
    assert_close(sum(token_mean(v, m, num_tokens=tokens) for v, m in parts), token_mean(values, mask))
    assert_close(
        sum(sequence_mean(masked_row_mean(v, m), m, num_sequences=sequences) for v, m in parts),
        sequence_mean(masked_row_mean(values, mask), mask),
    )


def test_shapes_that_would_broadcast_are_refused(values):
    with pytest.raises(TypeCheckError, match="mask"):
        masked_sum(values, torch.ones(3, 1, dtype=torch.bool))


def test_a_float_mask_is_refused(values):
    with pytest.raises(TypeCheckError, match="mask"):
        masked_sum(values, torch.ones(3, 3))
