"""What a rollout's rows may be made of, and what they are then."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from lspo.arrays import LARGEST_ID, ids_of, logprobs_of, same_rows


@pytest.mark.parametrize(
    "given",
    [
        (5, 6, 7), [5, 6, 7], range(5, 8), np.array([5, 6, 7], dtype=np.uint8), np.arange(10)[5:8],
        np.arange(7, 4, -1)[::-1],
        torch.tensor([5, 6, 7]), torch.tensor([[5], [6], [7]], dtype=torch.int16)[:, 0], [np.int64(5), 6, np.int32(7)],
    ],
)  # fmt: skip
def test_ids_of_anything_are_an_array_of_their_own(given: Any) -> None:
    row = ids_of(given)
    assert row.tolist() == [5, 6, 7]
    assert row.dtype == np.int32
    assert row.base is None
    with pytest.raises(ValueError, match="read-only"):
        row[0] = 1


def test_logprobs_are_rounded_as_engines_have_them() -> None:
    row = logprobs_of([-0.1, math.nan, -math.inf, 0])
    assert row.dtype == np.float32
    assert float(row[0]) == float(np.float32(-0.1)) != -0.1
    assert math.isnan(row[1])
    assert row.tolist()[2:] == [-math.inf, 0.0]
    assert logprobs_of(torch.tensor([-0.1])).tolist() == row[:1].tolist()


def test_a_row_of_its_own_is_not_copied_and_a_part_of_another_is() -> None:
    """Else a rollout would keep alive the batch that it was written in."""
    row = ids_of(range(100))
    assert ids_of(row) is row
    part = ids_of(row[:3])
    assert part.base is None
    assert part.nbytes == 12
    writable = np.arange(3, dtype=np.int32)
    assert ids_of(writable) is not writable
    assert logprobs_of(row[:2]).dtype == np.float32


def test_empty_rows() -> None:
    assert (ids_of(()).dtype, logprobs_of([]).dtype) == (np.int32, np.float32)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((5, -1), "between 0 and 2147483647, but got some between -1 and 5"),
        ((LARGEST_ID + 1,), "between 0 and 2147483647, but got some between 2147483648"),
        ((2**70,), "whole numbers, but got object"),
        ((1.0, 2.0), "whole numbers, but got float64"),
        (([1, 2], [3, 4]), r"one row of whole numbers, but got int64 of shape \(2, 2\)"),
        ((True, False), "whole numbers, but got bool"),
    ],
)
def test_what_is_no_token_is_refused(given: Any, told: str) -> None:
    with pytest.raises(RuntimeError, match=told):
        ids_of(given)


def test_the_largest_id_is_kept() -> None:
    assert ids_of((0, LARGEST_ID)).tolist() == [0, LARGEST_ID]


@pytest.mark.parametrize("given", [("a",), ((1.0,),), (None, 1.0)])
def test_what_is_no_log_prob_is_refused(given: Any) -> None:
    with pytest.raises(RuntimeError, match="Expected log-probs as one row of numbers"):
        logprobs_of(given)


def test_rows_are_the_same_by_their_values() -> None:
    row, again = logprobs_of((-1.0, math.nan)), logprobs_of((-1.0, math.nan))
    assert same_rows(row, again)
    assert not same_rows(row, logprobs_of((-1.0, -2.0)))
    assert not same_rows(row, row[:1])
    assert same_rows(None, None)
    assert not same_rows(row, None)
    assert not same_rows(None, logprobs_of(()))
